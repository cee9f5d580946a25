"""The source of the library's functions and classes, read as text so that emitting needs no torch."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def functions() -> dict[str, str]:
    """name -> source text, in file order."""
    text = Path(__file__).with_name("library.py").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            source = ast.get_source_segment(text, node)
            assert source is not None
            found[node.name] = source
    return found


def carried(body: str) -> list[str]:
    """The functions and classes that a text calls."""
    return [source for name, source in functions().items() if f"{name}(" in body and _calls(name, body)]


def _calls(name: str, body: str) -> bool:
    """Whether `name(` stands in the text as a call of its own, not as a method or a longer name."""
    start = body.find(f"{name}(")
    while start >= 0:
        before = body[start - 1] if start else " "
        if not (before.isalnum() or before in "_."):
            return True
        start = body.find(f"{name}(", start + 1)
    return False
