"""Texts with labels, one to a row: CSV, TSV, or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import torch
from pydantic import Field
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.passes.overrides import plain
from compiler.syntax.schema import Values
from runtime.training.data.common import Data, Example, FileSection, shuffled
from runtime.training.fields import Positive, Word
from runtime.training.tokenizer import Tokenizing

_DELIMITERS: Final[Mapping[str, str]] = {".csv": ",", ".tsv": "\t"}
PAD: Final = "[PAD]"


class RowsSection(FileSection):
    """text, label: names of columns. where: columns and the value that a row must have in each.
    length: tokens that are read of a text at most.
    """

    text: Word = "text"
    label: Word = "label"
    where: Annotated[Values, Field(default_factory=dict)]
    length: Positive

    def read(self, tokenizer: Tokenizing | None) -> Data:
        """Each distinct text once, in a fixed random order of which the first part is held out."""
        if tokenizer is None:
            raise fail("missing-field", "texts need a `tokenizer`", self.span)
        rows = list(dict.fromkeys(self._rows()))
        rows = [rows[i] for i in shuffled(len(rows))][: self.limit]
        labels = sorted({label for _, label in rows})
        held = round(len(rows) * self.held_out)
        tokenizer.learn([text for text, _ in rows[held:]])
        pad = tokenizer.id_of(PAD, self.span)
        parts = [self._texts(part, labels, tokenizer) for part in (rows[held:], rows[:held])]
        facts = {"tokens": tokenizer.size, "classes": len(labels), "length": self.length}
        return Data(
            parts[0],
            parts[1],
            collate=Padding(pad),
            facts=facts,
            labels=tuple(labels),
            tokenizer=tokenizer,
            lengths=[len(text) for text in parts[0].tokens],
        )

    def _texts(self, rows: Sequence[tuple[str, str]], labels: Sequence[str], by: Tokenizing) -> Texts:
        numbers = {label: i for i, label in enumerate(labels)}
        tokens = [torch.tensor(ids) for ids in by.whole([text for text, _ in rows], self.length)]
        return Texts(tokens, torch.tensor([numbers[label] for _, label in rows]))

    def _rows(self) -> Iterator[tuple[str, str]]:
        path = self.found()
        wanted = {str(key): plain(value) for key, value in self.where.items()}
        try:
            for row in _read(path):
                for name in (self.text, self.label, *wanted):
                    if name not in row:
                        cure = did_you_mean(name, row)
                        raise fail("bad-value", f"`{path}` has no column `{name}`", self.span, help=cure)
                if all(str(row[key]) == str(value) for key, value in wanted.items()):
                    yield str(row[self.text]), str(row[self.label])
        except (OSError, ValueError, csv.Error) as error:
            raise self.unreadable(path, error) from None


def _read(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a table by column."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix in _DELIMITERS:
            csv.field_size_limit(1 << 24)
            yield from csv.DictReader(file, delimiter=_DELIMITERS[path.suffix])
            return
        for line in file:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("a line is no JSON object")
            yield row


class Texts:
    """Tokenised texts with labels."""

    def __init__(self, tokens: Sequence[Tensor], labels: Tensor) -> None:
        self.tokens, self.labels = tokens, labels

    def __len__(self) -> int:
        return len(self.tokens)

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """tokens int[T] and a label, int[]."""
        return {"tokens": self.tokens[index], "labels": self.labels[index]}


class Padding:
    """Makes texts of unlike lengths one batch: tokens int[B, T], mask bool[B, T], and what else there is."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, examples: Sequence[Example]) -> Example:
        """Pad to the longest."""
        tokens = [e["tokens"] for e in examples]
        lengths = torch.tensor([len(t) for t in tokens])
        rest = {n: torch.stack([e[n] for e in examples]) for n in examples[0] if n != "tokens"}
        padded = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=self.pad)
        return {"tokens": padded, "mask": torch.arange(padded.shape[1]) < lengths[:, None], **rest}
