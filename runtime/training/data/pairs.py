"""Parallel text: sentences and what they mean in other languages.

The decoder's first token names the language, so that one model writes several.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from compiler.diagnostics.diagnostic import fail
from runtime.training.data.common import IGNORED, Data, DataSection, Example, Source, located, shuffled
from runtime.training.data.rows import PAD
from runtime.training.fields import Positive, Word, Words, WordsBy
from runtime.training.tokenizer import Tokenizing

EOS: Final = "[EOS]"
_MAGIC: Final = 0x950412DE


@dataclass(frozen=True, order=True)
class Pair:
    """A sentence, what it means, and the token of the language that says so."""

    source: str
    target: str
    language: str


class PairsSection(DataSection):
    """length: tokens of a sentence at most; longer pairs are left out."""

    reads_text: ClassVar[bool] = True
    length: Positive

    @abstractmethod
    def pairs(self) -> Iterator[Pair]:
        """Every pair of the files."""

    def read(self, tokenizer: Tokenizing | None) -> Data:
        """Each pair once; a sentence is held out with all of its translations, so none is seen before."""
        if tokenizer is None:
            raise fail("missing-field", "parallel text needs a `tokenizer`", self.span)
        pairs = sorted(set(self.pairs()))
        sources = sorted({pair.source for pair in pairs})
        order = [sources[i] for i in shuffled(len(sources))][: self.limit]
        held = round(len(order) * self.held_out)
        valid, train = set(order[:held]), set(order[held:])
        learned = [pair for pair in pairs if pair.source in train]
        tokenizer.learn([text for pair in learned for text in (pair.source, pair.target)])
        ends = Ends(tokenizer.id_of(PAD, self.span), tokenizer.id_of(EOS, self.span))
        parts = [
            Translations([p for p in pairs if p.source in part], tokenizer, ends, self)
            for part in (train, valid)
        ]
        facts = {"tokens": tokenizer.size, "length": self.length}
        return Data(
            parts[0],
            parts[1],
            collate=ends.collate,
            facts=facts,
            tokenizer=tokenizer,
            lengths=parts[0].lengths,
        )


class LinesSection(PairsSection):
    """Two files, a sentence to a line. language: the token of the target's language."""

    source: Word
    target: Word
    language: Word

    def pairs(self) -> Iterator[Pair]:
        """Line by line."""
        sides = [self._lines(located(name, self.span, self.get)) for name in (self.source, self.target)]
        if len(sides[0]) != len(sides[1]):
            message = f"`{self.source}` has {len(sides[0])} lines, `{self.target}` {len(sides[1])}"
            raise fail("bad-value", message, self.span)
        for source, target in zip(*sides, strict=True):
            if source.strip() and target.strip():
                yield Pair(source.strip(), target.strip(), self.language)

    def _lines(self, path: Path) -> list[str]:
        try:
            return path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise self.unreadable(path, error) from None


class CataloguesSection(PairsSection):
    """gettext's catalogues `LANGUAGE/LC_MESSAGES/*.mo` anywhere below some folders.

    languages: language -> the script that a translation must have a letter of, as Unicode names it
    (`hi: DEVANAGARI`). The token of a language is its name in `<` and `>`.
    """

    folders: Words
    languages: Annotated[WordsBy, Field(min_length=1)]

    def pairs(self) -> Iterator[Pair]:
        """Messages that are translated into the language's own script, without marks for the keyboard."""
        folders = [located(folder, self.span, self.get) for folder in self.folders]
        for language, script in self.languages.items():
            found = [p for f in folders for p in f.glob(f"**/{language}/LC_MESSAGES/*.mo")]
            for path in sorted(found):
                for source, target in self._catalogue(path).items():
                    if source and _written_in(target, script):
                        yield Pair(_clean(source.rpartition("\x04")[2]), _clean(target), f"<{language}>")

    def _catalogue(self, path: Path) -> dict[str, str]:
        try:
            return read_catalogue(path.read_bytes())
        except (OSError, ValueError, struct.error) as error:
            raise self.unreadable(path, error) from None


def read_catalogue(data: bytes) -> dict[str, str]:
    """message -> translation of a .mo file, of plurals the singular. Raises ValueError or struct.error.

    Python's own reader compiles the file's rule of plurals; this one runs nothing.
    """
    order = next((o for o in "<>" if data[:4] == struct.pack(f"{o}I", _MAGIC)), None)
    if order is None:
        raise ValueError("it is no catalogue of gettext")
    _, count, sources, targets = struct.unpack_from(f"{order}4I", data, 4)

    def text(table: int, number: int) -> str:
        length, start = struct.unpack_from(f"{order}2I", data, table + 8 * number)
        if start + length > len(data):
            raise ValueError("it is cut short")
        return data[start : start + length].decode("utf-8").partition("\0")[0]

    return {text(sources, n): text(targets, n) for n in range(count)}


def _clean(text: str) -> str:
    return " ".join(re.sub("[&_~]", "", text).split())


def _written_in(text: str, script: str) -> bool:
    return any(unicodedata.name(letter, "").startswith(script) for letter in text)


@dataclass(frozen=True)
class Ends:
    """Token ids: of padding, and of the end of a sentence."""

    pad: int
    eos: int

    def collate(self, examples: Sequence[Example]) -> Example:
        """source int[B, S], source_mask bool[B, S], target and labels int[B, T]."""
        source, target, labels = ([e[name] for e in examples] for name in ("source", "target", "labels"))
        padded = pad_sequence(source, batch_first=True, padding_value=self.pad)
        lengths = torch.tensor([len(s) for s in source])
        return {
            "source": padded,
            "source_mask": torch.arange(padded.shape[1]) < lengths[:, None],
            "target": pad_sequence(target, batch_first=True, padding_value=self.pad),
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        }


class Translations:
    """Tokenised pairs, those that are too long left out. pairs: the text of each."""

    def __init__(
        self, pairs: Sequence[Pair], tokenizer: Tokenizing, ends: Ends, section: PairsSection
    ) -> None:
        self.ends = ends
        languages = {p.language: tokenizer.id_of(p.language, section.span) for p in pairs}
        rows = [(p, tokenizer.ids(p.source), tokenizer.ids(p.target)) for p in pairs]
        kept = [row for row in rows if max(len(row[1]), len(row[2]) + 1) <= section.length and row[1]]
        self.pairs = [pair for pair, _, _ in kept]
        self.texts = [torch.tensor(source) for _, source, _ in kept]
        self.targets = [torch.tensor([languages[p.language], *target]) for p, _, target in kept]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def lengths(self) -> list[int]:
        """How long each is on both sides together."""
        return [len(s) + len(t) for s, t in zip(self.texts, self.targets, strict=True)]

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """source int[S]; target int[T], the language first; labels int[T], the end last."""
        target = self.targets[index]
        end: Tensor = torch.tensor([self.ends.eos])
        return {"source": self.texts[index], "target": target, "labels": torch.cat([target[1:], end])}

    def sources(self) -> Iterator[Source]:
        """The tokens of both sides of each."""
        for source, target in zip(self.texts, self.targets, strict=True):
            yield from (source, target)
