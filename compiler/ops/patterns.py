"""Axis patterns in einops notation: `B T (heads d) -> B heads T d`, their sizes solved against shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from compiler.ir.dims import Dim, Proof, dim, product
from compiler.ir.opdef import OpFault
from compiler.ir.types import TensorType

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[0-9]+|[()\[\]])")


@dataclass(frozen=True)
class Group:
    """One axis of a tensor: a product of names (empty: the literal axis 1). bracketed marks `[axis]`."""

    names: tuple[str, ...]
    bracketed: bool = False

    @property
    def name(self) -> str:
        """The one name of a plain axis, "" of any other."""
        return self.names[0] if len(self.names) == 1 else ""


Side = tuple[Group, ...]


@dataclass(frozen=True)
class Pattern:
    """The inputs and the output of a pattern; `output` is None where the pattern has no arrow."""

    inputs: tuple[Side, ...]
    output: Side


@lru_cache(maxsize=1024)
def parse_pattern(text: str) -> Pattern:
    """Raises OpFault on a pattern that does not follow the grammar."""
    left, arrow, right = text.partition("->")
    if not arrow or "->" in right:
        raise OpFault("bad-pattern", f"the pattern `{text}` needs one `->`", attr="pattern")
    return Pattern(tuple(_side(part, text) for part in left.split(",")), _side(right, text))


def _side(text: str, whole: str) -> Side:
    groups: list[Group] = []
    inside: list[str] | None = None
    closing = ""
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise OpFault(
                "bad-pattern",
                f"unexpected `{text[position:].strip()[:8]}` in the pattern `{whole}`",
                attr="pattern",
            )
        token = match[1]
        position = match.end()
        if token in "([":
            if inside is not None:
                raise OpFault("bad-pattern", f"brackets nest in the pattern `{whole}`", attr="pattern")
            inside, closing = [], ")" if token == "(" else "]"
        elif token in ")]":
            if inside is None or token != closing:
                raise OpFault("bad-pattern", f"unbalanced `{token}` in the pattern `{whole}`", attr="pattern")
            groups.append(Group(tuple(inside), bracketed=token == "]"))
            inside = None
        elif inside is not None:
            inside.append(token)
        else:
            groups.append(Group(() if token == "1" else (token,)))
    if inside is not None:
        raise OpFault("bad-pattern", f"unclosed bracket in the pattern `{whole}`", attr="pattern")
    return tuple(groups)


def plain(pattern: Pattern, text: str, *, units: bool = False, brackets: bool = False) -> None:
    """Raises OpFault for products of axes, and for unit axes and brackets where an op has no use for them."""
    for group in (g for side in (*pattern.inputs, pattern.output) for g in side):
        if len(group.names) > 1:
            cure = "split and join axes with `rearrange`"
            raise OpFault(
                "bad-pattern", f"products of axes cannot stand in `{text}`", attr="pattern", help=cure
            )
        if not group.names and not units:
            raise OpFault(
                "bad-pattern", f"an axis of 1 cannot stand in `{text}`", attr="pattern", help="name it"
            )
        if group.bracketed and not brackets:
            raise OpFault("bad-pattern", f"brackets are `gather`'s, not for `{text}`", attr="pattern")


@dataclass
class Axes:
    """The sizes of the names in one pattern: those of the enclosing block, and those solved here."""

    outer: Callable[[str], Dim | None]
    extra: Mapping[str, Dim]
    solved: dict[str, Dim]

    def size(self, name: str) -> Dim | None:
        """What a name stands for, None while nothing says so."""
        if name.isdigit():
            return dim(int(name))
        if name in self.extra:
            return self.extra[name]
        if name in self.solved:
            return self.solved[name]
        return self.outer(name)

    def bind(self, side: Side, found: TensorType, port: str, text: str) -> None:
        """Solve a side's names against a shape. Raises OpFault when they cannot agree."""
        if len(side) != found.rank:
            raise OpFault(
                "shape-mismatch",
                f"the pattern `{text}` has {len(side)} axes, its input {found.axes()} has {found.rank}",
                port=port,
            )
        names = [n for g in side for n in g.names if not n.isdigit()]
        twice = [n for n in names if names.count(n) > 1]
        if twice:
            raise OpFault("bad-pattern", f"`{twice[0]}` stands twice in one side of `{text}`", attr="pattern")
        for group, size in zip(side, found.shape, strict=True):
            self._bind_group(group, size, found, port, text)

    def _bind_group(self, group: Group, size: Dim, found: TensorType, port: str, text: str) -> None:
        unknown = [n for n in group.names if self.size(n) is None]
        known = product(s for n in group.names if (s := self.size(n)) is not None)
        if len(unknown) > 1:
            raise OpFault(
                "bad-pattern",
                f"the sizes of {' and '.join(unknown)} in `{text}` are not known",
                attr="pattern",
            )
        if unknown:
            quotient = size.exact_div(known)
            if quotient is None:
                raise OpFault(
                    "shape-mismatch", f"`{size}` is not divisible by `{known}` in `{text}`", port=port
                )
            self.solved[unknown[0]] = quotient
        elif known.compare(size) is not Proof.PROVED:
            label = f"({' '.join(group.names)})" if len(group.names) != 1 else group.name
            raise OpFault(
                "shape-mismatch" if known.compare(size) is Proof.REFUTED else "shape-unknown",
                f"the axis `{label or 1}` of `{text}` is {known}, its input {found.axes()} has {size}",
                port=port,
            )

    def shape(self, side: Side, text: str) -> tuple[Dim, ...]:
        """The sizes of a side. Raises OpFault for a name that nothing binds."""
        out: list[Dim] = []
        for group in side:
            sizes = []
            for name in group.names:
                size = self.size(name)
                if size is None:
                    raise OpFault(
                        "bad-pattern", f"the size of `{name}` in `{text}` is not known", attr="pattern"
                    )
                sizes.append(size)
            out.append(product(sizes))
        return tuple(out)


def broadcast(types: list[TensorType], ports: list[str]) -> tuple[Dim, ...]:
    """The shape of an elementwise op, aligned from the right; only an axis of 1 is expanded."""
    rank = max(t.rank for t in types)
    out: list[Dim] = []
    for k in range(rank):
        size = dim(1)
        owner = ""
        for found, port in zip(types, ports, strict=True):
            at = k - (rank - found.rank)
            if at < 0 or found.shape[at] == dim(1):
                continue
            if size != dim(1) and size.compare(found.shape[at]) is not Proof.PROVED:
                proof = size.compare(found.shape[at])
                raise OpFault(
                    "shape-mismatch" if proof is Proof.REFUTED else "shape-unknown",
                    f"axis {k - rank} is {size} in `{owner}` and {found.shape[at]} in `{port}`",
                    port=port,
                    help="only an axis of size 1 is expanded",
                )
            size, owner = found.shape[at], port
        out.append(size)
    return tuple(out)


def common_dtype(types: list[TensorType], ports: list[str]) -> str:
    """The dtype of an elementwise op; the module's float meets a fixed one only through a cast."""
    floats = {t.dtype for t in types if t.is_float}
    if len(floats) > 1:
        port = next(p for t, p in zip(types, ports, strict=True) if t.dtype in sorted(floats)[1:])
        raise OpFault(
            "dtype-mismatch",
            f"{' and '.join(sorted(floats))} meet",
            port=port,
            help="put a `cast` before one of them",
        )
    if floats:
        return floats.pop()
    whole = [t for t in types if t.dtype != "bool"]
    if not whole:
        return "bool"
    deciding = [t for t in whole if t.rank] or whole  # as in torch, a number does not widen a tensor
    return "int32" if all(t.dtype == "int32" for t in deciding) else "int"


def need_float(x: TensorType, what: str, *, weighted: bool = False) -> None:
    """Raises OpFault for whole numbers and conditions; what meets weights must have the module's dtype."""
    if not x.is_float or (weighted and x.dtype != "float"):
        kind = "float" if weighted else "floats"
        cure = "put a `cast` before it" + (", `like` a value of the module's dtype" if weighted else "")
        raise OpFault("dtype-mismatch", f"{what} needs {kind}, found {x}", port="x", help=cure)
