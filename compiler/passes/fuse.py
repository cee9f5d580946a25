"""fuse: TypedGraph -> TypedGraph. Linear maps of one value become one map, its output split.

One product for q, k and v reads its weight faster than three do, and costs one call.
The spec's tensors stand one below the other in the joined one, so each of them is a run of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.ir.dims import Dim, dim
from compiler.ir.graph import Attr, Node, OpNode, Ref, RepeatNode, SameNode, UseNode
from compiler.ir.opdef import Weight
from compiler.ir.parameters import Join
from compiler.ir.typed import Joined, TypedBlock, TypedGraph, TypedNode
from compiler.ir.types import TensorType
from compiler.ir.values import Record, Value
from compiler.passes.parameters import children, initial_values, parameter_table
from compiler.source.text import Span
from compiler.syntax.names import ADDED_METHODS, MODULE_ATTRIBUTES, TEXT_NAMES


def fuse(graph: TypedGraph) -> TypedGraph:
    """The graph with sibling linear maps joined, wherever nobody can tell.

    Left apart are maps that something else names: ties, second calls, adapters, and the root's own where it
    has methods; and maps whose initial values differ or depend on their size.
    """
    table, owners = parameter_table(graph)
    diagnostics = Diagnostics()
    initial = {init.parameter: init.value for init in initial_values(graph, owners, diagnostics)}
    diagnostics.check()
    trained = graph.graph.adapters.train if graph.graph.adapters is not None else ()
    named = {*table.ties, *table.ties.values(), *(n for n in owners if any(p.reaches(n) for p in trained))}
    fusing = _Fusing(dict(_prefixes(graph.root)), initial, named)
    root = fusing.block(graph.root, keep=bool(graph.graph.methods))
    before = graph.root if graph.joined is None else graph.joined.before
    return replace(graph, root=root, joined=Joined(before, tuple(fusing.joins)))


def _prefixes(root: TypedBlock) -> Iterator[tuple[int, list[str]]]:
    """Block -> the beginnings of its tensors' names, one for each module that it is."""
    found: dict[int, list[str]] = {}

    def walk(block: TypedBlock, prefix: str) -> None:
        found.setdefault(id(block), []).append(prefix)
        for typed in block.nodes:
            for path, child in children(typed):
                walk(child, prefix + path)

    walk(root, "")
    yield from found.items()


@dataclass(frozen=True)
class _Siblings:
    """Linear maps that become one, its name, and the name of the split behind it."""

    nodes: tuple[TypedNode, ...]
    name: str
    split: str

    def output(self, ref: Ref) -> Ref:
        """Where the value of one of the maps is now."""
        return Ref(self.split, ref.node)


class _Fusing:
    def __init__(
        self, prefixes: Mapping[int, list[str]], initial: Mapping[str, Value], named: set[str]
    ) -> None:
        self.prefixes = prefixes
        self.initial = initial
        self.named = named
        self.joins: list[Join] = []
        self.done: dict[int, TypedBlock] = {}

    def block(self, typed: TypedBlock, keep: bool = False) -> TypedBlock:
        """A block with the maps in it joined. keep: leave its own apart."""
        if id(typed) not in self.done:
            nodes = tuple(self._inside(node) for node in typed.nodes)
            inner = replace(
                typed, block=replace(typed.block, nodes=tuple(n.node for n in nodes)), nodes=nodes
            )
            siblings = () if keep else tuple(self._siblings(typed))
            self.done[id(typed)] = _joined(inner, siblings) if siblings else inner
        return self.done[id(typed)]

    def _inside(self, typed: TypedNode) -> TypedNode:
        if not typed.children:
            return typed
        changed = tuple(map(self.block, typed.children))
        action = typed.node.action
        if isinstance(action, UseNode):
            action = UseNode(changed[0].block)
        elif isinstance(action, RepeatNode):
            action = replace(action, bodies=tuple(c.block for c in changed))
        return replace(typed, node=replace(typed.node, action=action), children=changed)

    def _siblings(self, block: TypedBlock) -> Iterator[_Siblings]:
        """The joins of one block; each is entered for every module that the block is."""
        again = {n.node.action.target for n in block.nodes if isinstance(n.node.action, SameNode)}
        groups: dict[tuple[object, ...], list[TypedNode]] = {}
        for typed in block.nodes:
            action = typed.node.action
            if isinstance(action, OpNode) and action.op == "linear" and self._is_free(typed, block, again):
                weights = tuple(w.name for w in typed.weights)
                key = (typed.node.inputs["x"], weights, typed.node.guard, typed.node.fallback)
                groups.setdefault((*key, self._values(typed, block)), []).append(typed)
        taken = {*block.inputs, *(n.node.name for n in block.nodes)}
        for several in groups.values():
            if len(several) > 1:
                name = _free(_title([n.node.name for n in several]), taken)
                found = _Siblings(tuple(several), name, _free("split", taken))
                self._enter(found, block)
                yield found

    def _is_free(self, typed: TypedNode, block: TypedBlock, again: set[str]) -> bool:
        """Whether no one else speaks of the map or its tensors."""
        if not typed.weights or typed.node.name in again:
            return False
        names = (
            f"{p}{typed.node.name}.{w.name}" for p in self.prefixes.get(id(block), ()) for w in typed.weights
        )
        return self.named.isdisjoint(names)

    def _values(self, typed: TypedNode, block: TypedBlock) -> tuple[object, ...]:
        """The initial values of its tensors in each module; unlike any other where size decides them."""
        prefixes = self.prefixes.get(id(block), ())
        values = [self.initial[f"{p}{typed.node.name}.{w.name}"] for p in prefixes for w in typed.weights]
        return (typed.node.name,) if "xavier_uniform" in values else tuple(map(str, values))

    def _enter(self, found: _Siblings, block: TypedBlock) -> None:
        for prefix in self.prefixes.get(id(block), ()):
            for weight in found.nodes[0].weights:
                parts = tuple(f"{prefix}{n.node.name}.{weight.name}" for n in found.nodes)
                self.joins.append(Join(f"{prefix}{found.name}.{weight.name}", parts))


def _title(names: list[str]) -> str:
    """`qkv` of q, k and v; `gate_up` of gate and up."""
    return ("" if all(len(n) == 1 for n in names) else "_").join(names)


def _free(name: str, taken: set[str]) -> str:
    while name in taken or name in MODULE_ATTRIBUTES | ADDED_METHODS | TEXT_NAMES:
        name += "_"
    taken.add(name)
    return name


def _joined(block: TypedBlock, siblings: tuple[_Siblings, ...]) -> TypedBlock:
    """The block with each group of siblings as one map and a split, in the place of the first."""
    moved = {s.nodes[k].node.name: s for s in siblings for k in range(len(s.nodes))}

    def now(ref: Ref) -> Ref:
        return moved[ref.node].output(ref) if ref.node in moved else ref

    nodes: list[TypedNode] = []
    for typed in block.nodes:
        found = moved.get(typed.node.name)
        if found is None:
            nodes.append(replace(typed, node=_rewired(typed.node, now)))
        elif typed.node.name == found.nodes[0].node.name:
            nodes += _pair(found, now)
    inputs = tuple(replace(p, default=now(p.default)) if p.default else p for p in block.block.inputs)
    outputs = {name: now(ref) for name, ref in block.block.outputs.items()}
    changed = replace(block.block, inputs=inputs, nodes=tuple(n.node for n in nodes), outputs=outputs)
    return replace(block, block=changed, nodes=tuple(nodes))


def _rewired(node: Node, now: Callable[[Ref], Ref]) -> Node:
    inputs = {p: tuple(map(now, r)) if isinstance(r, tuple) else now(r) for p, r in node.inputs.items()}
    fallback = now(node.fallback) if node.fallback is not None else None
    return replace(node, inputs=inputs, guard=tuple(map(now, node.guard)), fallback=fallback)


def _pair(found: _Siblings, now: Callable[[Ref], Ref]) -> list[TypedNode]:
    """The joined map, and the split that gives each reader its part."""
    first = found.nodes[0]
    node = _rewired(first.node, now)
    span = node.span
    types = {n.node.name: n.outputs["y"] for n in found.nodes}
    sizes = {name: t.shape[-1] for name, t in types.items()}
    width = _total(list(sizes.values()))
    one = next(iter(types.values()))
    whole = TensorType(one.dtype, (*one.shape[:-1], width))
    weights = tuple(Weight(w.name, (width, *w.shape[1:]), w.init) for w in first.weights)
    linear: dict[str, Value] = {**first.attrs, "out": width}
    parts: dict[str, Value] = {
        "axis": len(whole.shape) - 1,
        "into": Record(tuple((name, size) for name, size in sizes.items())),
    }
    action, split = (
        OpNode(op, _attrs(values, span)) for op, values in (("linear", linear), ("split", parts))
    )
    joined = replace(node, name=found.name, action=action)
    guard = (Ref(found.name, "y"),) if node.guard else ()
    behind = Node(found.split, span, split, {"x": Ref(found.name, "y")}, tuple(types), guard)
    return [
        TypedNode(joined, {"y": whole}, linear, weights, _total([n.flops for n in found.nodes])),
        TypedNode(behind, types, parts, (), dim(0)),
    ]


def _attrs(values: Mapping[str, Value], span: Span) -> dict[str, Attr]:
    return {name: Attr(value, span) for name, value in values.items()}


def _total(sizes: list[Dim]) -> Dim:
    total = dim(0)
    for size in sizes:
        total = total + size
    return total
