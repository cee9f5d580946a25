"""The source of the library's functions and classes, read as text so that emitting needs no torch."""

from __future__ import annotations

import ast
import re
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


#: Docstrings, strings and comments.
_WORDS = re.compile(r'"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\])*"|#[^\n]*', re.DOTALL)

#: A name that is read: no attribute, no keyword argument, nothing that is defined.
_NAME = re.compile(r"(?<![\w.])(?<!def )(?<!class )[A-Za-z_]\w*\b(?!\s*=[^=])")


def used_names(text: str) -> frozenset[str]:
    """The names that a text of ours may read, docstrings aside; a syntax tree costs twenty times as much."""
    return frozenset(_NAME.findall(_WORDS.sub('""', text)))


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
