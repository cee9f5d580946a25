"""Pictures with a line of text each: a JSON table of names and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.passes.overrides import plain
from compiler.syntax.schema import Values
from runtime.training.data.common import Data, Example, FileSection, shuffled
from runtime.training.data.folders import open_rgb
from runtime.training.data.pixels import Look
from runtime.training.data.rows import PAD, Padding
from runtime.training.fields import Count, Positive, Word
from runtime.training.tokenizer import Tokenizing


class CaptionsSection(FileSection):
    """table: a JSON list below `path`; text, picture: its keys. folder: of the pictures, below `path`.

    where: keys and the value that an entry must have in each. image: the side in pixels.
    length: tokens of a text at most. shift: pixels by which a picture is moved at most.
    """

    table: Word
    text: Word
    picture: Word
    folder: Word
    where: Annotated[Values, Field(default_factory=dict)]
    image: Positive
    length: Positive
    shift: Count = 0

    def read(self, tokenizer: Tokenizing | None) -> Data:
        """Each distinct text once, in a fixed random order of which the first part is held out."""
        if tokenizer is None:
            raise fail("missing-field", "captions need a `tokenizer`", self.span)
        pairs = self._pairs()
        pairs = [pairs[i] for i in shuffled(len(pairs))][: self.limit]
        held = round(len(pairs) * self.held_out)
        tokenizer.learn([text for text, _ in pairs[held:]])
        pad = tokenizer.id_of(PAD, self.span)
        parts = [self._captioned(part, tokenizer) for part in (pairs[held:], pairs[:held])]
        facts = {"tokens": tokenizer.size, "image": self.image, "length": self.length}
        train, valid = parts
        return Data(
            train,
            valid,
            collate=Pairing(pad),
            facts=facts,
            tokenizer=tokenizer,
            pixel_mean=0.5,
            pixel_std=0.5,
        )

    def _pairs(self) -> list[tuple[str, Path]]:
        folder = self.found()
        path = folder / self.table
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.unreadable(path, error) from None
        wanted = {str(key): plain(value) for key, value in self.where.items()}
        found: dict[str, Path] = {}
        for entry in entries:
            missing = [key for key in (self.text, self.picture, *wanted) if key not in entry]
            if missing:
                raise fail("bad-value", f"an entry of `{path}` has no `{missing[0]}`", self.span)
            if all(entry[key] == value for key, value in wanted.items()):
                text = str(entry[self.text]).lower()
                found.setdefault(text, folder / self.folder / str(entry[self.picture]))
        return sorted(found.items())

    def _captioned(self, pairs: Sequence[tuple[str, Path]], tokenizer: Tokenizing) -> Captioned:
        tokens = [torch.tensor(ids) for ids in tokenizer.whole([text for text, _ in pairs], self.length)]
        look = Look(0.5, 0.5, self.shift, flip=False)
        return Captioned([open_rgb(path, self.image) for _, path in pairs], tokens, look)


class Pairing(Padding):
    """A padded batch in which labels int[B] say that each picture's text is the one beside it."""

    def __call__(self, examples: Sequence[Example]) -> Example:
        """Pad, and number the pairs."""
        return {**super().__call__(examples), "labels": torch.arange(len(examples))}


class Captioned:
    """Pictures and their tokens in memory."""

    def __init__(self, pixels: Sequence[Tensor], tokens: Sequence[Tensor], look: Look) -> None:
        self.pixels, self.tokens, self.look = pixels, tokens, look

    def __len__(self) -> int:
        return len(self.pixels)

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """pixels float[3, H, W] in [-1, 1], tokens int[T]."""
        return {"tokens": self.tokens[index], "pixels": self.look(self.pixels[index], rng)}
