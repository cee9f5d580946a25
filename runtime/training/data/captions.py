"""Pictures with a line of text each: a JSON table of names and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
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
from runtime.training.fields import Count, MaybeWord, Positive, Word, Words
from runtime.training.tokenizer import Tokenizing


@dataclass(frozen=True, order=True)
class Entry:
    """A picture and its text. longer: the same with more words. category: empty where none was asked for."""

    text: str
    longer: str
    picture: Path
    category: str


class CaptionsSection(FileSection):
    """table: a JSON list below `path`; text, picture: its keys. folder: of the pictures, below `path`.

    where: keys and the value that an entry must have in each. image: the side in pixels.
    also: keys whose words stand behind the text in every other draw of training, never in what is held out.
    category: a key whose values are classes. length: tokens of a text at most.
    shift: pixels by which a picture is moved at most.
    """

    table: Word
    text: Word
    picture: Word
    folder: Word
    also: Words = ()
    category: MaybeWord = None
    where: Annotated[Values, Field(default_factory=dict)]
    image: Positive
    length: Positive
    shift: Count = 0

    def read(self, tokenizer: Tokenizing | None) -> Data:
        """Each distinct text once, in a fixed random order of which the first part is held out."""
        if tokenizer is None:
            raise fail("missing-field", "captions need a `tokenizer`", self.span)
        entries = self._entries()
        entries = [entries[i] for i in shuffled(len(entries))][: self.limit]
        held = round(len(entries) * self.held_out)
        tokenizer.learn([entry.longer for entry in entries[held:]])
        pad = tokenizer.id_of(PAD, self.span)
        parts = [self._captioned(part, tokenizer) for part in (entries[held:], entries[:held])]
        facts = {"tokens": tokenizer.size, "image": self.image, "length": self.length}
        train, valid = parts
        return Data(
            train,
            valid,
            collate=Pairing(pad),
            facts=facts,
            labels=tuple(sorted({entry.category for entry in entries} - {""})),
            tokenizer=tokenizer,
            pixel_mean=0.5,
            pixel_std=0.5,
        )

    def _entries(self) -> list[Entry]:
        folder = self.found()
        path = folder / self.table
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.unreadable(path, error) from None
        wanted = {str(key): plain(value) for key, value in self.where.items()}
        found: dict[str, Entry] = {}
        maybe = [self.category] if self.category is not None else []
        keys = [self.text, self.picture, *self.also, *wanted, *maybe]
        for entry in entries:
            missing = [key for key in keys if key not in entry]
            if missing:
                raise fail("bad-value", f"an entry of `{path}` has no `{missing[0]}`", self.span)
            if all(entry[key] == value for key, value in wanted.items()):
                text = str(entry[self.text]).lower()
                longer = ", ".join([text, *(spoken(str(entry[key])) for key in self.also)])
                place = folder / self.folder / str(entry[self.picture])
                category = str(entry[self.category]) if self.category else ""
                found.setdefault(text, Entry(text, longer, place, category))
        return sorted(found.values())

    def _captioned(self, entries: Sequence[Entry], tokenizer: Tokenizing) -> Captioned:
        forms = ([entry.text for entry in entries], [entry.longer for entry in entries])
        short, long = ([torch.tensor(ids) for ids in tokenizer.whole(f, self.length)] for f in forms)
        look = Look(0.5, 0.5, self.shift, flip=False)
        pixels = [open_rgb(entry.picture, self.image) for entry in entries]
        return Captioned(pixels, short, long, look, [entry.category for entry in entries])


class Pairing(Padding):
    """A padded batch in which labels int[B] say that each picture's text is the one beside it."""

    def __call__(self, examples: Sequence[Example]) -> Example:
        """Pad, and number the pairs."""
        return {**super().__call__(examples), "labels": torch.arange(len(examples))}


class Captioned:
    """Pictures and their tokens in memory. longer: the tokens of every other draw. categories: of each, or
    empty words.
    """

    def __init__(
        self,
        pixels: Sequence[Tensor],
        tokens: Sequence[Tensor],
        longer: Sequence[Tensor],
        look: Look,
        categories: Sequence[str],
    ) -> None:
        self.pixels, self.tokens, self.longer = pixels, tokens, longer
        self.look, self.categories = look, categories

    def __len__(self) -> int:
        return len(self.pixels)

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """pixels float[3, H, W] in [-1, 1], tokens int[T]."""
        pixels = self.look(self.pixels[index], rng)
        more = rng is not None and bool(torch.rand((), generator=rng) < 0.5)
        return {"tokens": (self.longer if more else self.tokens)[index], "pixels": pixels}


def spoken(words: str) -> str:
    """The name of a class as captions spell it."""
    return words.lower().replace("&", "and")
