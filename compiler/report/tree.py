"""The folded tree of a spec: what each node is, gives and costs; equal layers on one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

from compiler.ir.dims import Dim
from compiler.ir.graph import OpNode, RepeatNode, SameNode, UseNode
from compiler.ir.typed import TypedBlock, TypedNode
from compiler.report.units import closed_form, exact, short

HEAD = ("node", "is", "gives", "parameters", "FLOPs")
GAP = "  "


@dataclass(frozen=True)
class Row:
    """A node. `times`: how often it runs; parameters and flops are of all runs together.

    note: a tie, or that a module serves several layers. children: of one run.
    """

    name: str
    kind: str
    gives: Mapping[str, str]
    parameters: int
    flops: Dim
    times: int = 1
    note: str = ""
    children: tuple[Row, ...] = ()


def tree(block: TypedBlock) -> tuple[Row, ...]:
    """A row per node of a block."""
    return tuple(_row(node) for node in block.nodes)


def _row(typed: TypedNode) -> Row:
    node = typed.node
    gives = {name: str(found) for name, found in typed.outputs.items()}
    own = sum(prod(d.constant or 0 for d in w.shape) for w in typed.weights)
    below = zip(typed.children, typed.module_counts(), strict=True)
    row = Row(node.name, "", gives, own + sum(c.parameter_count() * n for c, n in below), typed.flops)
    match node.action:
        case OpNode(op=op, shares=shares):
            ties = ", ".join(f"{name} is {attr.value}" for name, attr in shares.items())
            return replace(row, kind=op, note=ties)
        case UseNode(block=block):
            return replace(row, kind=block.name, children=tree(typed.children[0]))
        case SameNode(target=target):
            return replace(row, kind=target, note="called again")
        case RepeatNode() as repeat:
            return _repeat(row, typed, repeat)


def _repeat(row: Row, typed: TypedNode, repeat: RepeatNode) -> Row:
    layers, modules = len(repeat.layers), len(set(repeat.modules))
    note = f"{modules} modules" if modules != layers else ""
    bodies = [tree(child) for child in typed.children]
    if len(bodies) == 1:
        return replace(row, kind=repeat.bodies[0].name, times=layers, note=note, children=bodies[0])
    kinds = tuple(
        Row(
            label or child.block.name,
            child.block.name,
            {},
            child.parameter_count(),
            child.flops,
            runs,
            "",
            rows,
        )
        for label, child, runs, rows in zip(
            repeat.labels, typed.children, typed.layer_counts(), bodies, strict=True
        )
    )
    return replace(row, kind="layers", times=layers, note=note, children=kinds)


def render(block: TypedBlock) -> list[str]:
    """The tree as aligned lines; inside a repeat, figures are of one layer."""
    inputs = ((name, "input", found, "", "") for name, found in input_types(block).items())
    rows = [HEAD, *inputs, *(line for row in tree(block) for line in _lines(row, 0))]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
    out: list[str] = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        right = row[3].rjust(widths[3])
        out.append(GAP.join([*left, right, row[4]]).rstrip())
    return out


def input_types(block: TypedBlock) -> dict[str, str]:
    """The inputs with their types, `?` where a call may leave one out."""
    optional = {p.name for p in block.block.inputs if p.maybe or p.default is not None}
    return {name: f"{found}{'?' if name in optional else ''}" for name, found in block.inputs.items()}


def _lines(row: Row, depth: int) -> Iterator[tuple[str, str, str, str, str]]:
    name = "  " * depth + row.name + (f" x{row.times}" if row.times > 1 else "")
    kind = row.kind + (f" ({row.note})" if row.note else "")
    flops = closed_form(row.flops, short) if row.flops.terms else ""
    yield name, kind, _gives(row.gives), exact(row.parameters) if row.parameters else "", flops
    for child in row.children:
        yield from _lines(child, depth + 1)


def _gives(gives: Mapping[str, str]) -> str:
    """One output without its name."""
    if len(gives) == 1:
        return next(iter(gives.values()))
    return ", ".join(f"{name} {found}" for name, found in gives.items())
