"""The words of an expression, and faults in its text."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<string>\"[^\"]*\"|'[^']*')"
    r"|(?P<op>\*\*|//|==|!=|<=|>=|[-+*/%<>()\[\],]))"
)
_WORDS = {"and", "or", "not", "if", "else"}


class ExprError(Exception):
    """A fault in the text of an expression at [start, end)."""

    def __init__(self, message: str, start: int, end: int, help: str = "") -> None:
        super().__init__(message)
        self.message, self.start, self.end, self.help = message, start, end, help


@dataclass(frozen=True)
class Token:
    """A word of the grammar and where it stands."""

    kind: str
    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """The words of a text, an `end` behind them. Raises ExprError."""
    tokens: list[Token] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            at = position + len(stripped[position:]) - len(stripped[position:].lstrip())
            raise ExprError(f"unexpected character `{stripped[at]}`", at, at + 1, hint(stripped[at]))
        kind = match.lastgroup or ""
        word = match[kind]
        if kind == "name" and word in _WORDS:
            kind = "word"
        tokens.append(Token(kind, word, match.start(match.lastgroup or ""), match.end()))
        position = match.end()
    tokens.append(Token("end", "", len(stripped), len(stripped)))
    return tokens


def number(text: str) -> int | float:
    """The value of a number as written."""
    return int(text) if text.isdigit() else float(text)


def hint(text: str) -> str:
    """What those write who know another language."""
    return {
        "?": "write `a if condition else b`",
        ":": "write `a if condition else b`",
        "&": "write `and`",
        "|": "write `or`",
        "^": "write `**` for a power",
        "!": "write `not`",
        "{": "write the name alone",
        "$": "write the name alone",
        "=": "compare with `==`; one `=` at the beginning marks an expression",
    }.get(text[:1], "")
