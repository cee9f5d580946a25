"""Faults of the user's input as data. Text is made in `render`, never in a pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from compiler.diagnostics.codes import CODES
from compiler.source.text import SourceFile, Span


@dataclass(frozen=True)
class Note:
    """A second place, or a fact, that explains the fault."""

    message: str
    span: Span | None = None


@dataclass(frozen=True)
class Diagnostic:
    """One fault: what is wrong, where, what it disagrees with, and the fix."""

    code: str
    message: str
    span: Span | None
    label: str = ""
    notes: tuple[Note, ...] = ()
    help: str = ""

    def __post_init__(self) -> None:
        assert self.code in CODES, f"undeclared diagnostic code {self.code!r}"


class CompileError(Exception):
    """All faults that one phase found. `str()` is the rendered report."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        from compiler.diagnostics.render import render_all

        return render_all(self.diagnostics)


class Abort(Exception):
    """Leaves the construct at hand after its fault was reported; the phase goes on."""


@dataclass
class Diagnostics:
    """Collects the faults of one phase."""

    items: list[Diagnostic] = field(default_factory=list[Diagnostic])

    def error(
        self,
        code: str,
        message: str,
        span: Span | None,
        *,
        label: str = "",
        notes: tuple[Note, ...] = (),
        help: str = "",
    ) -> Abort:
        """Record a fault (once) and return an Abort, for `raise diagnostics.error(...)`."""
        found = Diagnostic(code, message, span, label, notes, help)
        if found not in self.items:
            self.items.append(found)
        return Abort(message)

    @contextmanager
    def recover(self) -> Iterator[None]:
        """Go on after a fault inside the block that was already reported."""
        try:
            yield
        except Abort:
            pass

    def check(self) -> None:
        """End the phase: raise CompileError if anything was found, in the order of the files' lines."""
        if self.items:
            files = [d.span.file if d.span is not None else None for d in self.items]
            raise CompileError(tuple(sorted(self.items, key=lambda d: _place(d.span, files))))


def _place(span: Span | None, files: list[SourceFile | None]) -> tuple[int, int, int]:
    """A place among those of one report: files in the order in which they came up, then lines."""
    if span is None:
        return (files.index(None), 0, 0)
    return (files.index(span.file), span.line, span.column)


def fail(
    code: str,
    message: str,
    span: Span | None,
    *,
    label: str = "",
    notes: tuple[Note, ...] = (),
    help: str = "",
) -> CompileError:
    """A CompileError of one diagnostic, for faults that end everything."""
    return CompileError((Diagnostic(code, message, span, label, notes, help),))
