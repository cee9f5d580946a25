"""Ops on values of which each rank holds a part: where the split axis goes, or why it cannot be kept.

Each rule says of one op that its local form is the part of its whole form. What has no rule here wants whole
values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from compiler.ir.dims import dim
from compiler.ir.graph import Node, OpNode
from compiler.ir.opdef import OpCall
from compiler.ir.typed import TypedBlock, TypedNode
from compiler.ir.types import TensorType
from compiler.ops.axes import axis_of, solve
from compiler.ops.kinds import read_names
from compiler.ops.patterns import Axes, Side, parse_pattern
from compiler.ops.pointwise import map_sides
from compiler.ops.sequence import gather_sides
from compiler.parallel.groups import Count


@dataclass(frozen=True)
class Split:
    """A value of which each rank holds an equal, contiguous part of one axis. group: who splits it."""

    axis: int
    group: str


class Whole(Exception):
    """The op needs whole values. The message says why."""


@dataclass(frozen=True)
class Site:
    """One op and what is known of the values it reads: (type, split) at each port, in order."""

    typed: TypedNode
    block: TypedBlock
    call: OpCall
    values: Mapping[str, tuple[tuple[TensorType, Split | None], ...]]

    @property
    def node(self) -> Node:
        """The node."""
        return self.typed.node

    @property
    def op(self) -> str:
        """The op's name."""
        assert isinstance(self.node.action, OpNode)
        return self.node.action.op

    def all(self) -> list[tuple[TensorType, Split | None]]:
        """Every value it reads, in port order."""
        return [value for values in self.values.values() for value in values]

    def one(self, port: str) -> tuple[TensorType, Split | None] | None:
        """The value at a port, None where nothing is wired."""
        return self.values[port][0] if port in self.values else None

    def need_whole(self, *ports: str) -> None:
        """Raises Whole if a value at one of the ports is split."""
        for port in ports:
            if any(split is not None for _, split in self.values.get(port, ())):
                raise Whole(f"`{self.node.name}` needs all of `{port}`")


@dataclass(frozen=True)
class Kept:
    """Where the split axis is in the outputs, and what else must be dealt out evenly for it."""

    axes: Mapping[str, int]
    count: Count | None = None


Rule = Callable[[Site], Kept]


def _same(site: Site, axis: int) -> Kept:
    return Kept(dict.fromkeys(site.typed.outputs, axis))


def _at_x(site: Site) -> int:
    value = site.one("x")
    if value is None or value[1] is None:
        raise Whole(f"`{site.op}` needs whole values")
    return value[1].axis


def _passes(site: Site) -> Kept:
    """Elementwise over one tensor."""
    return _same(site, _at_x(site))


def _cast(site: Site) -> Kept:
    """Of `like` only the dtype is read."""
    split = site.values["x"][0][1]
    return Kept({}) if split is None else _same(site, split.axis)


def _met(site: Site, axis: int, others: Sequence[tuple[TensorType, Split | None, int | None]]) -> int:
    """The axis of a result at which every value is split alike, or has nothing; others: (.., its axis)."""
    for found, split, at in others:
        if split is None and (at is None or found.shape[at] == dim(1)):
            continue
        if split is None:
            raise Whole(f"`{site.node.name}` joins it with a value that every rank holds whole")
        if split.axis != at:
            raise Whole(f"`{site.node.name}` joins values that are split along different axes")
    return axis


def _broadcast(site: Site, values: Sequence[tuple[TensorType, Split | None]]) -> int:
    """The split axis of an elementwise result, aligned from the right."""
    rank = max(found.rank for found, _ in values)
    axis = next(split.axis + rank - found.rank for found, split in values if split is not None)
    places = [(found, split, axis - (rank - found.rank)) for found, split in values]
    return _met(site, axis, [(found, split, at if at >= 0 else None) for found, split, at in places])


def _elementwise(site: Site) -> Kept:
    return _same(site, _broadcast(site, site.all()))


def _map(site: Site) -> Kept:
    pattern = map_sides(site.call)
    read = read_names(site.call.attrs["expr"])
    values = {port: site.values[port][0] for port in site.call.inputs if port in read}
    if all(split is None for _, split in values.values()):
        raise Whole(f"`{site.node.name}` reads only its shape")
    if pattern is None:
        return _same(site, _broadcast(site, list(values.values())))
    sides = dict(zip(site.call.inputs, pattern.inputs, strict=True))
    name = next(sides[port][split.axis].name for port, (_, split) in values.items() if split is not None)
    out = [g.name for g in pattern.output].index(name)
    places = [(found, split, _place(sides[port], name)) for port, (found, split) in values.items()]
    return _same(site, _met(site, out, places))


def _place(side: Side, name: str) -> int | None:
    names = [g.name for g in side]
    return names.index(name) if name and name in names else None


def _moved(site: Site) -> Kept:
    """rearrange, reduce, expand: the leading factor of the split axis is what is dealt out."""
    axis = _at_x(site)
    pattern, axes = solve(site.call)
    lead = next((n for n in pattern.inputs[0][axis].names if axes.size(n) != dim(1)), None)
    if lead is None:
        raise Whole(f"`{site.node.name}` has an axis of 1 there")
    for k, group in enumerate(pattern.output):
        if lead in group.names:
            before = group.names[: group.names.index(lead)]
            if any(axes.size(n) != dim(1) for n in before):
                break
            return Kept({"y": k}, _count(site, lead, axes))
    raise Whole(f"`{site.node.name}` moves `{lead}` behind another factor, or sums over it")


def _count(site: Site, name: str, axes: Axes) -> Count | None:
    size = axes.size(name)
    if size is None or size.constant is None:
        raise Whole(f"the size of `{name}` depends on the input")
    param = site.block.block.params.get(name)
    return Count(size.constant, name, param.span if param is not None else site.node.span)


def _beside(site: Site) -> Kept:
    """Ops along one axis, over a tensor or tensors alike: every other axis is kept."""
    axis = axis_of(site.call, site.all()[0][0])
    found = next(split.axis for _, split in site.all() if split is not None)
    if axis == found:
        raise Whole(f"`{site.node.name}` works along it")
    return _same(site, _met(site, found, [(t, split, found) for t, split in site.all()]))


def _softmax(site: Site) -> Kept:
    (x, split), mask = site.values["x"][0], site.one("mask")
    if split is None or split.axis == axis_of(site.call, x):
        raise Whole(f"`{site.node.name}` works along it")
    if mask is not None:
        _met(site, split.axis, [(*mask, split.axis)])
    return _same(site, split.axis)


def _norm(site: Site) -> Kept:
    """Over the last axis; a weight there is the same for all parts."""
    axis = _at_x(site)
    if axis == site.values["x"][0][0].rank - 1:
        raise Whole(f"`{site.node.name}` normalises along it")
    if site.typed.weights and site.typed.attrs.get("offset"):
        raise Whole(f"`{site.node.name}` adds to its weight before it is used")
    return _same(site, axis)


def _einsum(site: Site) -> Kept:
    pattern = parse_pattern(str(site.call.attrs["pattern"]))
    values = site.all()
    name = next(
        side[split.axis].name
        for side, (_, split) in zip(pattern.inputs, values, strict=True)
        if split is not None
    )
    if name not in (g.name for g in pattern.output):
        raise Whole(f"`{site.node.name}` sums over it")
    out = [g.name for g in pattern.output].index(name)
    places = [(t, split, _place(side, name)) for side, (t, split) in zip(pattern.inputs, values, strict=True)]
    return _same(site, _met(site, out, places))


def _attention(site: Site) -> Kept:
    """Each head by itself: queries, keys, values and what is added to the scores by the same heads."""
    values = [values[0] for values in site.values.values()]
    _met(site, 1, [(found, split, 1 if found.rank == 4 else None) for found, split in values])
    heads = [site.values[port][0] for port in ("q", "k", "v")]
    if any(split is None for _, split in heads):
        raise Whole(f"`{site.node.name}` meets heads that every rank holds whole")
    return Kept({"y": 1})


def _rotate(site: Site) -> Kept:
    site.need_whole("angle")
    if _at_x(site) != 1:
        raise Whole(f"`{site.node.name}` turns along it")
    return Kept({"y": 1})


def _cache(site: Site) -> Kept:
    found = {port: values[0][1] for port, values in site.values.items()}
    return Kept({port: split.axis for port, split in found.items() if split is not None})


def _gather(site: Site) -> Kept:
    """Looked up along another axis; an axis that the index shares is counted, so it must be whole."""
    site.need_whole("index")
    axis, (pattern, bracketed) = _at_x(site), gather_sides(site.call)
    name = pattern.inputs[0][axis].name
    if axis == bracketed or name in (g.name for g in pattern.inputs[1]):
        raise Whole(f"`{site.node.name}` looks up along it")
    return Kept({"y": [g.name for g in pattern.output].index(name)})


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "activation": _passes,
        "add": _elementwise,
        "attention": _attention,
        "cache": _cache,
        "cast": _cast,
        "concat": _beside,
        "dropout": _passes,
        "einsum": _einsum,
        "expand": _moved,
        "gather": _gather,
        "layer_norm": _norm,
        "map": _map,
        "mul": _elementwise,
        "pad": _beside,
        "rearrange": _moved,
        "reduce": _moved,
        "rms_norm": _norm,
        "rotate": _rotate,
        "slice": _beside,
        "softmax": _softmax,
        "split": _beside,
    }
)
