"""Pictures with a line of text each: a JSON table of names and files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.passes.overrides import plain
from compiler.syntax.schema import Values
from runtime.training.data.common import Data, Example, FileSection, Source, shuffled
from runtime.training.data.folders import open_rgb
from runtime.training.data.pixels import Look
from runtime.training.data.rows import PAD, Padding
from runtime.training.fields import Count, MaybeWord, Positive, Word, Words
from runtime.training.tokenizer import Tokenizing


@dataclass(frozen=True, order=True)
class Entry:
    """A picture and its text. kinds: more words. category: empty where none was asked for."""

    text: str
    kinds: str
    picture: Path
    category: str

    @property
    def forms(self) -> tuple[str, ...]:
        """What training says of the picture."""
        return (self.text, f"{self.text}, {self.kinds}", self.kinds) if self.kinds else (self.text,)


class CaptionsSection(FileSection):
    """table: a JSON list below `path`; text, picture: its keys. folder: of the pictures, below `path`.

    where: keys and the value that an entry must have in each. image: the side in pixels.
    also: keys whose words stand behind the text, or alone, in two of three draws of training, and only there.
    category: a key whose values are classes. length: tokens of a text at most.
    shift: pixels by which a picture is moved at most.
    """

    reads_text: ClassVar[bool] = True
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
        tokenizer.learn([form for entry in entries[held:] for form in entry.forms])
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
                kinds = ", ".join(spoken(str(entry[key])) for key in self.also)
                place = folder / self.folder / str(entry[self.picture])
                category = str(entry[self.category]) if self.category else ""
                found.setdefault(text, Entry(text, kinds, place, category))
        return sorted(found.values())

    def _captioned(self, entries: Sequence[Entry], tokenizer: Tokenizing) -> Captioned:
        tokens = [[torch.tensor(i) for i in tokenizer.whole(entry.forms, self.length)] for entry in entries]
        look = Look(0.5, 0.5, self.shift, flip=False)
        pixels = [open_rgb(entry.picture, self.image, self.span) for entry in entries]
        return Captioned(pixels, tokens, look, [entry.category for entry in entries])


class Pairing(Padding):
    """A padded batch in which labels int[B] say that each picture's text is the one beside it."""

    def __call__(self, examples: Sequence[Example]) -> Example:
        """Pad, and number the pairs."""
        return {**super().__call__(examples), "labels": torch.arange(len(examples))}


class Captioned:
    """Pictures and the tokens of what is said of each, the text first, in memory. categories: of each, or
    empty words.
    """

    def __init__(
        self,
        pixels: Sequence[Tensor],
        tokens: Sequence[Sequence[Tensor]],
        look: Look,
        categories: Sequence[str],
    ) -> None:
        self.pixels, self.tokens = pixels, tokens
        self.look, self.categories = look, categories

    def __len__(self) -> int:
        return len(self.pixels)

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """pixels float[3, H, W] in [-1, 1], tokens int[T]: of the text, or in training of any form."""
        pixels, forms = self.look(self.pixels[index], rng), self.tokens[index]
        form = 0 if rng is None else int(torch.randint(len(forms), (), generator=rng))
        return {"tokens": forms[form], "pixels": pixels}

    def sources(self) -> Iterator[Source]:
        """Pixels, all forms and the category of each."""
        for pixels, forms, category in zip(self.pixels, self.tokens, self.categories, strict=True):
            yield pixels
            yield from forms
            yield category


def spoken(words: str) -> str:
    """The name of a class as captions spell it."""
    return words.lower().replace("&", "and")
