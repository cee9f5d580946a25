"""Diagnostics as text: the one place where they become sentences with carets."""

from __future__ import annotations

import json
from collections.abc import Sequence

from compiler.diagnostics.diagnostic import Diagnostic
from compiler.source.text import Span

MAX_SHOWN = 20
MAX_LINE = 160  # characters of a quoted line


def render_all(diagnostics: Sequence[Diagnostic]) -> str:
    """Every diagnostic, then a count; those behind the first MAX_SHOWN take a line each."""
    shown = [render(d) for d in diagnostics[:MAX_SHOWN]]
    if len(diagnostics) > MAX_SHOWN:
        shown.append("\n".join(_headline(d, placed=True) for d in diagnostics[MAX_SHOWN:]))
    count = len(diagnostics)
    shown.append(f"{count} error{'s' if count != 1 else ''}")
    return "\n\n".join(shown)


def render(diagnostic: Diagnostic) -> str:
    """One diagnostic: headline, quoted source with a caret, notes, help."""
    lines = [_headline(diagnostic)]
    if diagnostic.span is not None:
        lines += _quote(diagnostic.span, diagnostic.label)
    for note in diagnostic.notes:
        lines.append(f"note: {_clean(note.message)}")
        if note.span is not None:
            lines += _quote(note.span, "")
    if diagnostic.help:
        lines.append(f"help: {_clean(diagnostic.help)}")
    return "\n".join(lines)


def _headline(diagnostic: Diagnostic, placed: bool = False) -> str:
    span = diagnostic.span if placed else None
    place = f" {span if span.line else span.file.name}" if span is not None else ""
    return f"error[{diagnostic.code}]{place}: {_clean(diagnostic.message)}"


def render_json(diagnostics: Sequence[Diagnostic]) -> str:
    """The same facts for editors and scripts."""
    return json.dumps([diagnostic_data(d) for d in diagnostics], indent=2)


def diagnostic_data(d: Diagnostic) -> dict[str, object]:
    """One diagnostic as plain data."""
    return {
        "code": d.code,
        "message": d.message,
        "label": d.label,
        "help": d.help,
        **_place(d.span),
        "notes": [{"message": n.message, **_place(n.span)} for n in d.notes],
    }


def _place(span: Span | None) -> dict[str, object]:
    if span is None or span.line == 0:
        return {}
    return {"file": span.file.name, "line": span.line, "column": span.column}


def _quote(span: Span, label: str) -> list[str]:
    if span.line == 0:
        return [f"  --> {span.file.name}"]
    number = str(span.line)
    text = span.file.line(span.line)
    width = span.end_column - span.column if span.end_line == span.line else len(text)
    width = max(1, min(width, max(1, len(text) - span.column + 1)))
    pad = " " * len(number)
    text, start = _window(
        "".join(c if c.isprintable() else " \ufffd"[c != "\t"] for c in text), span.column - 1
    )
    caret = " " * start + "^" * min(width, max(1, len(text) - start)) + (f" {_clean(label)}" if label else "")
    return [
        f"{pad} --> {span}",
        f"{pad} |",
        f"{number} | {text}",
        f"{pad} | {caret}",
    ]


def _window(text: str, start: int) -> tuple[str, int]:
    """The part of a long line around a column, and where the column is in it."""
    if len(text) <= MAX_LINE:
        return text, start
    begin = max(0, min(start - MAX_LINE // 2, len(text) - MAX_LINE))
    cut = text[begin : begin + MAX_LINE]
    return ("..." + cut[3:] if begin else cut[:-3] + "..."), start - begin


def _clean(text: str) -> str:
    """Text that cannot move a terminal: control characters are shown, long runs are cut."""
    safe = "".join(c if c == "\n" or c.isprintable() else repr(c)[1:-1] for c in text)
    return safe if len(safe) <= 2000 else safe[:2000] + "..."
