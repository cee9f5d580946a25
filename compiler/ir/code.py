"""Pieces of PyTorch text, with their holes kept: values,
literals and sizes stay typed until the text is written.

Nothing of a spec enters the text but through these types, so what stands there is an identifier, a literal,
or a string of the compiler's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter

from compiler.ir.dims import Dim
from compiler.ir.graph import Ref

Literal = int | float | bool | str | None | tuple[int, ...]

#: How tightly a text binds: a call or name, a product, a sum, anything else.
ATOM, PRODUCT, SUM, LOOSE = 3, 2, 1, 0


@dataclass(frozen=True)
class Lit:
    """A literal that may differ between instances of a class; `hint` names the argument it then becomes."""

    value: Literal
    hint: str


@dataclass(frozen=True)
class Var:
    """A value of the block. `least` is how tightly its text must bind where it stands."""

    ref: Ref
    least: int = LOOSE


@dataclass(frozen=True)
class Size:
    """A size that depends on the input."""

    size: Dim


@dataclass(frozen=True)
class State:
    """A name the compiler provides: `past`, the `cache` of this module,
    or the part of it that `member` keeps.
    """

    name: str
    member: str = ""


Piece = str | Lit | Var | Size | State


@dataclass(frozen=True)
class Code:
    """An expression, and how tightly its text binds."""

    pieces: tuple[Piece, ...]
    binds: int = ATOM

    def refs(self) -> tuple[Ref, ...]:
        """The values that the code reads."""
        return tuple(p.ref for p in self.pieces if isinstance(p, Var))

    def __add__(self, other: Code) -> Code:
        return Code(self.pieces + other.pieces, min(self.binds, other.binds))


def code(template: str, binds: int = ATOM, /, **holes: Piece | Code) -> Code:
    """Code from a template of ours: `code("{x}.flatten({k})", x=Var(ref, ATOM), k=Lit(2, "axis"))`."""
    pieces: list[Piece] = []
    for text, name, _, _ in Formatter().parse(template):
        if text:
            pieces.append(text)
        if name is not None:
            hole = holes[name]
            pieces += hole.pieces if isinstance(hole, Code) else (hole,)
    return Code(tuple(pieces), binds)


def join(parts: list[Code], separator: str, binds: int = ATOM) -> Code:
    """Codes with text between them."""
    pieces: list[Piece] = []
    for i, part in enumerate(parts):
        if i:
            pieces.append(separator)
        pieces += part.pieces
    return Code(tuple(pieces), binds)


def tight(value: Code, least: int) -> Code:
    """The code, in parentheses unless it binds at least that tightly."""
    return value if value.binds >= least else Code(("(", *value.pieces, ")"))


def size_piece(size: Dim, hint: str) -> Piece:
    """A size as a literal where it is fixed."""
    return Lit(size.constant, hint) if size.constant is not None else Size(size)


def literals(value: Code) -> list[Lit]:
    """The literals of a code in text order."""
    return [p for p in value.pieces if isinstance(p, Lit)]
