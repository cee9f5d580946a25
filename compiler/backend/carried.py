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


def used_names(text: str) -> frozenset[str]:
    """The names that a text reads; what docstrings say does not count."""
    return frozenset(n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name))


def carried(names: frozenset[str]) -> list[str]:
    """The functions of these names and those that they call, in file order."""
    wanted = set(names)
    found = [name for name in functions() if name in wanted]
    while True:
        wanted |= {n for name in found for n in _used_by(name)}
        more = [name for name in functions() if name in wanted]
        if more == found:
            return [functions()[name] for name in found]
        found = more


@cache
def _used_by(name: str) -> frozenset[str]:
    return used_names(functions()[name])
