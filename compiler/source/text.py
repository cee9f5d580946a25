"""Where a value came from: a file and a place in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, eq=False)
class SourceFile:
    """A text and the name people know it by; equal only to itself."""

    name: str
    text: str = field(repr=False)
    path: Path | None = None

    @classmethod
    def read(cls, path: Path) -> SourceFile:
        """The file at that path."""
        return cls(display_name(path), path.read_bytes().decode("utf-8-sig"), path)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The text, split at line ends."""
        return tuple(self.text.splitlines())

    def line(self, number: int) -> str:
        """A line, counted from 1; empty where there is none."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


@dataclass(frozen=True)
class Span:
    """A range of characters in a file; lines and columns count from 1, the end is exclusive."""

    file: SourceFile
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}:{self.column}"

    def part(self, start: int, end: int) -> Span:
        """The characters [start, end) of a span that stands on one line."""
        if self.line != self.end_line:
            return self
        last = max(self.end_column, self.column + 1)
        begin = min(self.column + start, last - 1)
        return Span(self.file, self.line, begin, self.line, max(begin + 1, min(self.column + end, last)))


def display_name(path: Path) -> str:
    """The path relative to the working directory where that is shorter, as people type it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


#: The place of a value that no file holds, such as a default of the compiler.
BUILTIN = Span(SourceFile("<built in>", ""), 0, 0, 0, 0)
