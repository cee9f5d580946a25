"""The text of a port's type: `float[B, T, =width]?` -> TypePattern."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compiler.syntax.expr import Expr, ExprError, Name, parse_expr

#: "float" is the dtype the module is built in; "float32" stays what it is whatever the module is cast to.
DTYPES = ("float", "float32", "float64", "float16", "bfloat16", "int", "int32", "bool")

_SHAPE = re.compile(r"\s*([A-Za-z0-9]+)\s*\[(.*)\]\s*(\??)\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Axis:
    """One axis of a pattern: an expression of its size, `...` for any number of axes,
    `#` for broadcastable.
    """

    size: Expr | None  # None: `...`
    broadcast: bool = False

    @property
    def name(self) -> str | None:
        """The axis as a plain name, if it is one."""
        return self.size.name if isinstance(self.size, Name) else None


@dataclass(frozen=True)
class TypePattern:
    """dtype, axes, and whether the value may be absent."""

    dtype: str
    axes: tuple[Axis, ...]
    optional: bool
    text: str

    def __str__(self) -> str:
        return self.text


def parse_type(text: str) -> TypePattern:
    """Raises ExprError with the offset of the fault in `text`."""
    match = _SHAPE.match(text)
    if match is None:
        raise ExprError(
            "a type is written `float[B, T, D]`", 0, len(text), "add `?` at the end if it may be absent"
        )
    dtype = match[1]
    if dtype not in DTYPES:
        raise ExprError(f"there is no dtype `{dtype}`", 0, len(dtype), "one of " + ", ".join(DTYPES))
    axes: list[Axis] = []
    position = match.start(2)
    for part in _split(match[2]):
        if part.strip():
            axes.append(_axis(part, position))
        position += len(part) + 1
    return TypePattern(dtype, tuple(axes), bool(match[3]), text)


def _split(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += char
    return [*parts, current]


def _axis(text: str, offset: int) -> Axis:
    body = text.strip()
    shift = offset + len(text) - len(text.lstrip())
    if body == "...":
        return Axis(None)
    broadcast = body.startswith("#")
    start = 1 if body[:1] in "#=" else 0
    try:
        return Axis(parse_expr(body[start:]), broadcast)
    except ExprError as error:
        raise ExprError(
            error.message, shift + start + error.start, shift + start + error.end, error.help
        ) from None
