"""Texts with labels, one to a row: CSV, TSV, or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, TextIO

import torch
from pydantic import Field
from torch import Tensor

from compiler.diagnostics.diagnostic import CompileError, fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.passes.overrides import plain
from compiler.syntax.schema import Values
from runtime.training.data.common import Data, Example, FileSection, Source, shuffled
from runtime.training.fields import Positive, Word
from runtime.training.tokenizer import Tokenizing

_DELIMITERS: Final[Mapping[str, str]] = {".csv": ",", ".tsv": "\t"}
PAD: Final = "[PAD]"


class RowsSection(FileSection):
    """text, label: names of columns. where: columns and the value that a row must have in each.
    length: tokens that are read of a text at most.
    """

    reads_text: ClassVar[bool] = True
    text: Word = "text"
    label: Word = "label"
    where: Annotated[Values, Field(default_factory=dict)]
    length: Positive

    def read(self, tokenizer: Tokenizing | None) -> Data:
        """Each distinct text once, in a fixed random order of which the first part is held out."""
        if tokenizer is None:
            raise fail("missing-field", "texts need a `tokenizer`", self.span)
        rows = self._distinct()
        rows = [rows[i] for i in shuffled(len(rows))][: self.limit]
        labels = sorted({row.label for row in rows})
        held = round(len(rows) * self.held_out)
        tokenizer.learn([row.text for row in rows[held:]])
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

    def _texts(self, rows: Sequence[Row], labels: Sequence[str], by: Tokenizing) -> Texts:
        numbers = {label: i for i, label in enumerate(labels)}
        found = by.whole([row.text for row in rows], self.length)
        for row, ids in zip(rows, found, strict=True):
            if not ids:
                raise self._fault(row.line, f"the tokenizer finds no token in its `{self.text}`")
        tokens = [torch.tensor(ids, dtype=torch.long) for ids in found]
        return Texts(tokens, torch.tensor([numbers[row.label] for row in rows], dtype=torch.long))

    def _distinct(self) -> list[Row]:
        """Each text once, where it stands first."""
        found: dict[str, Row] = {}
        clashes: list[tuple[Row, Row]] = []
        for row in self._rows():
            known = found.setdefault(row.text, row)
            if known.label != row.label:
                clashes.append((known, row))
        if clashes:
            one, other = clashes[0]
            what = f"its text is labelled `{other.label}`, and in line {one.line} `{one.label}`"
            more = f"; {len(clashes) - 1} more are like it" if len(clashes) > 1 else ""
            raise self._fault(other.line, what + more, "one could be trained on and the other held out")
        return list(found.values())

    def _rows(self) -> Iterator[Row]:
        path = self.found()
        wanted = {str(key): plain(value) for key, value in self.where.items()}
        try:
            for line, cells in _read(path):
                for name in (self.text, self.label, *wanted):
                    if name not in cells:
                        raise self._fault(line, f"there is no `{name}`", did_you_mean(name, cells))
                if all(str(cells[key]) == str(value) for key, value in wanted.items()):
                    yield Row(self._cell(cells, self.text, line), self._cell(cells, self.label, line), line)
        except (OSError, ValueError, csv.Error) as error:
            raise self.unreadable(path, error) from None

    def _cell(self, cells: Mapping[str, Any], name: str, line: int) -> str:
        """What stands in a cell, as text."""
        value = cells[name]
        if value is None or isinstance(value, dict | list) or not str(value).strip():
            raise self._fault(line, f"`{name}` is {json.dumps(value)}, not a text")
        return str(value)

    def _fault(self, line: int, what: str, help: str = "") -> CompileError:
        return fail("bad-value", f"line {line} of `{self.found()}`: {what}", self.span, help=help)


@dataclass(frozen=True)
class Row:
    """A text with its label, and the line of the file on which it begins."""

    text: str
    label: str
    line: int


def _read(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a table by column, each with the line on which it begins."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix in _DELIMITERS:
            yield from _delimited(file, _DELIMITERS[path.suffix])
            return
        for line, text in enumerate(file, 1):
            try:
                row = json.loads(text)
            except ValueError as error:
                raise ValueError(f"line {line}: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {line} is no JSON object")
            yield line, row


def _delimited(file: TextIO, delimiter: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows below a line of names; empty lines are none."""
    csv.field_size_limit(1 << 24)
    reader = csv.reader(file, delimiter=delimiter)
    names = next(reader, [])
    if len(set(names)) < len(names):
        raise ValueError(f"two of its columns have one name: {', '.join(names)}")
    line = reader.line_num + 1
    for cells in reader:
        if cells and len(cells) != len(names):
            raise ValueError(f"line {line} has {len(cells)} cells, and there are {len(names)} columns")
        if cells:
            yield line, dict(zip(names, cells, strict=True))
        line = reader.line_num + 1


class Texts:
    """Tokenised texts with labels."""

    def __init__(self, tokens: Sequence[Tensor], labels: Tensor) -> None:
        self.tokens, self.labels = tokens, labels

    def __len__(self) -> int:
        return len(self.tokens)

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """tokens int[T] and a label, int[]."""
        return {"tokens": self.tokens[index], "labels": self.labels[index]}

    def sources(self) -> Iterator[Source]:
        """The tokens of each, and all labels."""
        yield from (*self.tokens, self.labels)


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
