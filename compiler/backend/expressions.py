"""Code pieces as text: names for values, literals, sizes, and single-reader steps written into their readers."""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from compiler.backend.carried import functions
from compiler.ir.code import LOOSE, Code, Lit, Literal, Size, State, Var
from compiler.ir.dims import Dim
from compiler.ir.graph import Ref
from compiler.ir.typed import TypedBlock

#: Names that a local variable must not hide.
RESERVED = frozenset(
    {"self", "cache", "past", "last", "torch", "nn", "F", "math", "range", "enumerate", "len", "zip", "i", "layer"}
    | set(functions())
)


def literal(value: Literal) -> str:
    """A literal as Python text."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, tuple):
        return "(" + ", ".join(literal(v) for v in value) + ("," if len(value) == 1 else "") + ")"
    assert value is None or isinstance(value, int | float | bool | str)
    return repr(value)


@dataclass
class Holes:
    """The literals of a class, taken one by one in text order."""

    values: Iterator[tuple[Literal | str, bool]]

    def take(self, inside: bool) -> str:
        """The next literal: its text, or the argument's name (an attribute of self inside a method)."""
        value, varies = next(self.values)
        if not varies:
            return literal(value)
        return f"self.{value}" if inside else str(value)


@dataclass
class Names:
    """A Python name for each value of one method."""

    taken: set[str]
    names: dict[Ref, str] = field(default_factory=dict[Ref, str])

    def add(self, ref: Ref, wish: str) -> str:
        name = wish
        while name in self.taken or name in RESERVED or keyword.iskeyword(name):
            name += "_"
        self.taken.add(name)
        self.names[ref] = name
        return name


@dataclass(frozen=True)
class Pending:
    """A step not yet written: it moves into its reader unless that line grows too long."""

    target: Ref
    text: str
    binds: int
    comment: str


@dataclass
class Printer:
    """Renders codes of one method of one class."""

    block: TypedBlock
    names: Names
    pending: dict[Ref, Pending] = field(default_factory=dict[Ref, Pending])

    def render(self, code: Code, holes: list[str]) -> str:
        """The text of a code; `holes` are the texts of its literals in order."""
        texts = iter(holes)
        return "".join(self._piece(p, texts) for p in code.pieces)

    def _piece(self, piece: object, holes: Iterator[str]) -> str:
        match piece:
            case str():
                return piece
            case Lit():
                return next(holes)
            case Var(ref=ref, least=least):
                return self.value(ref, least)
            case Size(size=size):
                return self.size(size)
            case State(name=name, member=member):
                return f'{name} and {name}["{member}"]' if member else name
            case _:
                raise AssertionError(piece)

    def value(self, ref: Ref, least: int = LOOSE) -> str:
        """A value's name, or its text if it is pending."""
        waiting = self.pending.get(ref)
        if waiting is None:
            return self.names.names[ref]
        return waiting.text if waiting.binds >= least else f"({waiting.text})"

    def size(self, size: Dim) -> str:
        """A symbolic size, read off an input of the block."""
        text = size.spell(self._symbol)
        return text if len(size.terms) == 1 else f"({text})"

    def _symbol(self, name: str) -> str:
        for port in self.block.block.inputs:
            for axis, found in enumerate(self.block.inputs[port.name].shape):
                if str(found) == name and not port.maybe:
                    return f"{self.names.names[Ref(port.name)]}.shape[{axis}]"
        if name.startswith("("):
            raise AssertionError(f"the size {name} has no text")
        raise AssertionError(f"no input of `{self.block.block.name}` has an axis {name}")


def axes_comment(shapes: list[tuple[TypedBlock, tuple[Dim, ...]]]) -> str:
    """A shape as a comment, true for every instance of the class: numbers where they agree, else dims."""
    blocks = [b for b, _ in shapes]
    parts = [_axis(blocks, sizes) for sizes in zip(*(s for _, s in shapes), strict=True)]
    return "[" + ", ".join(parts) + "]"


def _axis(blocks: list[TypedBlock], sizes: tuple[Dim, ...]) -> str:
    if all(s.constant is not None and s == sizes[0] for s in sizes):
        return str(sizes[0])
    for name in blocks[0].dims:
        if all(b.dims.get(name) == s for b, s in zip(blocks, sizes, strict=True)):
            return name
    for name, value in blocks[0].params.items():
        if sizes[0].constant == value and all(b.params.get(name) == s.constant for b, s in zip(blocks, sizes, strict=True)):
            return name
    local: Mapping[str, str] = {str(d): n for n, d in blocks[0].dims.items() if d.constant is None}
    return sizes[0].spell(lambda s: local.get(s, s))


