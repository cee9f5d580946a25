"""Code pieces as text: names for values, literals, sizes, and steps that stand inside their readers."""

from __future__ import annotations

import builtins
import json
import keyword
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import dropwhile

from compiler.ir.code import LOOSE, Code, Lit, Literal, Size, State, Var
from compiler.ir.dims import Dim
from compiler.ir.graph import Ref
from compiler.ir.program import Argument
from compiler.ir.typed import TypedBlock
from compiler.syntax.names import TEXT_NAMES

#: A symbol in the text of an opaque size, not a function's name.
_WORD = re.compile(r"\b[A-Za-z_]\w*\b(?!\()")


#: What a local variable must not hide: the text's own words, the functions of einops, Python's builtins.
_RESERVED = (
    TEXT_NAMES | {"like", "module", "rearrange", "reduce", "repeat", "einsum"} | frozenset(dir(builtins))
)


def literal(value: Literal) -> str:
    """A literal as Python text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "math.nan" if math.isnan(value) else ("math.inf" if value > 0 else "-math.inf")
    if isinstance(value, tuple):
        return "(" + ", ".join(literal(v) for v in value) + ("," if len(value) == 1 else "") + ")"
    assert value is None or isinstance(value, int | float | bool | str)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


@dataclass
class Holes:
    """The literals of a class, taken one by one in text order.

    kept: the arguments that a method needs, so that the constructor keeps them.
    """

    values: Iterator[tuple[Literal | str, bool]]
    kept: set[str] = field(default_factory=set[str])

    def take(self, inside: bool) -> str:
        """The next literal: its text, or the argument's name (an attribute of self inside a method)."""
        value, varies = next(self.values)
        if not varies:
            return literal(value)
        if not inside:
            return str(value)
        self.kept.add(str(value))
        return f"self.{value}"


@dataclass
class Names:
    """A Python name for each value of one method."""

    names: dict[Ref, str]

    @classmethod
    def public(cls, arguments: Iterable[Argument]) -> Names:
        """The arguments of an entry point: as the spec names them, for callers pass them by name."""
        return cls({Ref(a.name): a.name for a in arguments})

    @classmethod
    def private(cls, arguments: Iterable[Argument]) -> Names:
        """The arguments of a block's forward."""
        names = cls({})
        for argument in arguments:
            names.add(Ref(argument.name), argument.name)
        return names

    def copy(self) -> Names:
        """Names that may be added to without touching these."""
        return Names(dict(self.names))

    def add(self, ref: Ref, wish: str) -> str:
        """A name like the wish that hides nothing."""
        name = wish
        while name in self.names.values() or name in _RESERVED or keyword.iskeyword(name):
            name += "_"
        self.names[ref] = name
        return name


@dataclass(frozen=True)
class Pending:
    """A step not yet written: its reader takes it in."""

    text: str
    binds: int


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
                if str(found) == name and not port.maybe and Ref(port.name) in self.names.names:
                    return f"{self.names.names[Ref(port.name)]}.shape[{axis}]"
        if "(" in name:  # an opaque size is spelled by its text: `(T // 2)`, `min(T, 3)`
            return _WORD.sub(lambda m: self._symbol(m[0]), name)
        raise AssertionError(f"no input of `{self.block.block.name}` has an axis {name}")


def axes_comment(shapes: list[tuple[TypedBlock, tuple[Dim, ...]]]) -> str:
    """A shape as a comment, true for every instance of the class: numbers where they agree, else dims.

    An axis that the instances have no common name for is `_`; those before the last that all have, `...`.
    """
    blocks = [b for b, _ in shapes]
    rank = min(len(s) for _, s in shapes)
    parts = [_axis(blocks, sizes) for sizes in zip(*(s[len(s) - rank :] for _, s in shapes), strict=True)]
    if any(len(s) != rank for _, s in shapes):
        parts = ["...", *dropwhile(lambda part: part == "_", parts)]
    return "[" + ", ".join(parts) + "]"


def _axis(blocks: list[TypedBlock], sizes: tuple[Dim, ...]) -> str:
    if all(s.constant is not None and s == sizes[0] for s in sizes):
        return str(sizes[0])
    for name in blocks[0].dims:
        if all(b.dims.get(name) == s for b, s in zip(blocks, sizes, strict=True)):
            return name
    for name, value in blocks[0].params.items():
        if value is not None and all(
            b.params.get(name) == s.constant for b, s in zip(blocks, sizes, strict=True)
        ):
            return name
    spelled = {_spelled(block, size) for block, size in zip(blocks, sizes, strict=True)}
    return spelled.pop() if len(spelled) == 1 else "_"


def _spelled(block: TypedBlock, size: Dim) -> str:
    local: Mapping[str, str] = {str(d): n for n, d in block.dims.items() if d.constant is None}
    return size.spell(lambda s: local.get(s, s))
