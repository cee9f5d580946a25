"""One signature for all layers of a repeat, whatever each kind of layer captures.

Layers are called by one line, so every body takes the same ports in the same order. Where kinds capture
different values, as one mask here and another there, the value is chosen layer by layer; a port that a kind
does not read is there all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from compiler.ir.graph import Block, InputPort, Node, Ref, UseNode
from compiler.ir.typed import TypedBlock
from compiler.passes.steps import Instance

#: What feeds a port of a repeat: one value, or one for each body.
Wires = dict[str, Ref | tuple[Ref, ...]]


def united(made: Sequence[Instance]) -> tuple[tuple[Block, ...], Wires]:
    """The bodies with the same captures under the same names, and what feeds them."""
    shared = {n: r for n, r in made[0].captured.items() if all(m.captured.get(n) == r for m in made)}
    inputs: Wires = dict(shared)
    names: list[dict[str, str]] = [{} for _ in made]
    added: list[list[InputPort]] = [[] for _ in made]
    for own in zip_longest(*([n for n in m.captured if n not in shared] for m in made)):
        name = _free(_title(made, own), made, inputs)
        refs = [m.captured[n] if n is not None else None for m, n in zip(made, own, strict=True)]
        known = next(r for r in refs if r is not None)
        maybe = any(m.block.input(n).maybe for m, n in zip(made, own, strict=True) if n is not None)
        inputs[name] = tuple(r or known for r in refs)
        for k, old in enumerate(own):
            if old is not None:
                names[k][old] = name
            added[k].append(InputPort(name, None, made[k].block.span, maybe, capture=True))
    bodies = (_renamed(m.block, n, ports) for m, n, ports in zip(made, names, added, strict=True))
    return tuple(bodies), inputs


def alike(children: Sequence[TypedBlock]) -> tuple[TypedBlock, ...]:
    """The bodies with all ports that any of them has, in one order."""
    ports = {p.name: p for c in reversed(children) for p in c.block.inputs}
    types = {name: found for c in reversed(children) for name, found in c.inputs.items()}
    order = list(dict.fromkeys(p.name for c in children for p in c.block.inputs))
    maybe = {p.name for c in children for p in c.block.inputs if p.maybe}
    out: list[TypedBlock] = []
    for child in children:
        own = {p.name: p for p in child.block.inputs}
        every = [replace(own.get(n, ports[n]), maybe=n in maybe) for n in order]
        inputs = {n: child.inputs.get(n, types[n]) for n in order}
        out.append(replace(child, block=replace(child.block, inputs=tuple(every)), inputs=inputs))
    return tuple(out)


def _title(made: Sequence[Instance], own: Sequence[str | None]) -> str:
    """What the blocks that read the captured values call them, if they all agree."""
    known = [(m.block, n) for m, n in zip(made, own, strict=True) if n is not None]
    titles = {p for block, n in known for node in block.nodes for p in _ports_of(node, Ref(n))}
    return titles.pop() if len(titles) == 1 else known[0][1]


def _ports_of(node: Node, ref: Ref) -> Iterable[str]:
    if isinstance(node.action, UseNode):
        yield from (p for p, r in node.inputs.items() if r == ref)


def _free(base: str, made: Sequence[Instance], inputs: Mapping[str, object]) -> str:
    taken = {n.name for m in made for n in m.block.nodes}
    taken |= {p.name for m in made for p in m.block.inputs if p.name not in m.captured}
    name, count = base, 2
    while name in taken or name in inputs:
        name, count = f"{base}_{count}", count + 1
    return name


def _renamed(block: Block, names: Mapping[str, str], added: Sequence[InputPort]) -> Block:
    """The block with other ports in place of some: old name -> new name."""

    def moved(ref: Ref) -> Ref:
        return Ref(names.get(ref.node, ref.node), ref.port)

    def node(n: Node) -> Node:
        inputs = {p: tuple(map(moved, r)) if isinstance(r, tuple) else moved(r) for p, r in n.inputs.items()}
        fallback = moved(n.fallback) if n.fallback is not None else None
        return replace(n, inputs=inputs, guard=tuple(map(moved, n.guard)), fallback=fallback)

    return replace(
        block,
        inputs=(*(p for p in block.inputs if p.name not in names), *added),
        nodes=tuple(map(node, block.nodes)),
        outputs={n: moved(r) for n, r in block.outputs.items()},
    )
