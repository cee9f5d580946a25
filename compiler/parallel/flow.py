"""One walk through a graph: what would be split if every linear map gave its result in parts.

A linear map or a table that reads whole values opens a group; the split axis of its result is followed
through the ops, blocks and layers behind it. Values that meet join their groups; a linear map that contracts
the axis ends the path; whatever needs the whole value breaks the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from compiler.ir.dims import Dim
from compiler.ir.graph import Node, OpNode, Ref, RepeatNode, SameNode, UseNode
from compiler.ir.opdef import OpCall
from compiler.ir.typed import TypedBlock, TypedGraph, TypedNode
from compiler.ir.types import TensorType
from compiler.parallel.groups import Count, Groups
from compiler.parallel.rules import RULES, Kept, Site, Split, Whole
from compiler.parallel.styles import COLWISE, ROWWISE, SHARED, TABLE_COLUMNS
from compiler.passes.lower import named_sizes


@dataclass(frozen=True)
class Ids:
    """Whole numbers that the model is given, shifted or marked perhaps, but not counted by the graph."""


#: Ops that contract the last axis of `x` by a weight [..., out, in].
_MAPS = frozenset({"linear", "grouped_linear"})
#: Ops that leave ids what they are.
_KEEP_IDS = frozenset({"cast", "concat", "map", "pad", "rearrange", "slice"})


State = Split | Ids | None


@dataclass(frozen=True)
class Table:
    """A table that is looked up: its rows and columns, and whether by ids that the model is given."""

    rows: int
    columns: int
    given: bool


@dataclass(frozen=True)
class Head:
    """A linear map of a whole value: how much it gives, and the table it shares its weight with."""

    out: int
    table: str


@dataclass
class Flow:
    """What a walk found. whole: modules that are not to be split; keys are module paths, layers as `#0`."""

    whole: Set[str]
    groups: Groups = field(default_factory=Groups)
    tables: dict[str, Table] = field(default_factory=dict[str, Table])
    heads: dict[str, Head] = field(default_factory=dict[str, Head])
    plain: set[str] = field(default_factory=set[str])  # modules with weights that read whole values

    def graph(self, graph: TypedGraph) -> None:
        """Walk the whole graph, methods included: what they give or take in the middle is whole."""
        root = graph.root
        states: dict[str, State] = {
            name: Ids() if found.dtype.startswith("int") else None for name, found in root.inputs.items()
        }
        values = self._values(root, "", states)
        for name, ref in root.block.outputs.items():
            self._break(values[ref], f"it is the model's output `{name}`")
        for method in graph.graph.methods:
            for name, ref in {**method.outputs, **method.cut}.items():
                self._break(values.get(ref), f"`{method.name}` takes or gives it as `{name}`")

    def _values(self, block: TypedBlock, prefix: str, states: Mapping[str, State]) -> dict[Ref, State]:
        values: dict[Ref, State] = {Ref(name): states.get(name) for name in block.inputs}
        for typed in block.nodes:
            for port, state in self._node(typed, block, prefix, values).items():
                values[Ref(typed.node.name, port)] = state
            fallback = typed.node.fallback
            if fallback is not None:
                for port in typed.outputs:
                    self._alike(values.get(Ref(typed.node.name, port)), values.get(fallback), typed.node)
        for given in block.block.inputs:
            if given.default is not None:
                self._break(values.get(given.default), f"it stands in for the input `{given.name}`")
        return {ref: values.get(ref) for ref in _refs(block)}

    def _node(
        self, typed: TypedNode, block: TypedBlock, prefix: str, values: Mapping[Ref, State]
    ) -> Mapping[str, State]:
        node = typed.node
        match node.action:
            case OpNode():
                return self._op(typed, block, prefix, node.name, values)
            case UseNode():
                return self._use(typed, prefix, node.name, values)
            case RepeatNode() as repeat:
                return self._repeat(typed, repeat, prefix, values)
            case SameNode(target=target) if typed.children:
                return self._use(typed, prefix, target, values)
            case SameNode(target=target):
                original = block.node(target)
                node = Node(node.name, node.span, original.node.action, node.inputs, node.outputs, node.guard)
                again = TypedNode(node, typed.outputs, typed.attrs, original.weights, typed.flops)
                return self._op(again, block, prefix, target, values)

    def _use(
        self, typed: TypedNode, prefix: str, member: str, values: Mapping[Ref, State]
    ) -> Mapping[str, State]:
        child = typed.children[0]
        states = {port: values.get(ref) for port, ref in typed.node.inputs.items() if isinstance(ref, Ref)}
        inner = self._values(child, f"{prefix}{member}.", states)
        return {name: inner[ref] for name, ref in child.block.outputs.items()}

    def _repeat(
        self, typed: TypedNode, repeat: RepeatNode, prefix: str, values: Mapping[Ref, State]
    ) -> Mapping[str, State]:
        """Layers hand on whole values."""
        start = typed.node.inputs[repeat.carried]
        assert isinstance(start, Ref)
        self._break(values.get(start), f"the layers `{typed.node.name}` begin with it")
        for k, child in enumerate(typed.children):
            states: dict[str, State] = {}
            for port, wire in typed.node.inputs.items():
                ref = wire[k] if isinstance(wire, tuple) else wire
                states[port] = None if port == repeat.carried else values.get(ref)
            inner = self._values(child, f"{prefix}{typed.node.name}.#{k}.", states)
            for ref in child.block.outputs.values():
                self._break(inner[ref], f"the layers `{typed.node.name}` hand it on")
        return {}

    def _op(
        self, typed: TypedNode, block: TypedBlock, prefix: str, member: str, values: Mapping[Ref, State]
    ) -> Mapping[str, State]:
        action = typed.node.action
        assert isinstance(action, OpNode)
        site = _site(typed, block, values)
        module = prefix + member
        split = [state for _, state in site.all() if state is not None]
        if action.op == "embedding":
            ids = typed.node.inputs["ids"]
            given = isinstance(ids, Ref) and isinstance(values.get(ids), Ids)
            return self._table(site, module, given)
        if action.op in _MAPS and not split:
            return self._linear(site, module, prefix)
        if not split:
            self.plain |= {module} if typed.weights else set()
            given = action.op in _KEEP_IDS and any(isinstance(values.get(r), Ids) for r in typed.node.refs())
            return {p: Ids() for p, found in typed.outputs.items() if given and found.dtype.startswith("int")}
        groups = [s.group for s in split]
        self.groups.join(groups)
        try:
            if action.op in _MAPS:
                return self._end(site, module, split[0])
            if action.op not in RULES:
                raise Whole(f"`{typed.node.name}` needs all of it")
            return self._kept(site, module, RULES[action.op](site), groups[0])
        except Whole as reason:
            self.groups.of(groups[0]).stop(str(reason))
            return {}

    def _kept(self, site: Site, module: str, kept: Kept, group: str) -> Mapping[str, State]:
        if kept.axes and site.typed.weights:
            if module in self.whole:
                raise Whole(f"`{site.node.name}` is to be whole")
            self.groups.of(group).add(module, SHARED)
        if kept.count is not None:
            self.groups.of(group).counts.append(kept.count)
        return {port: Split(axis, group) for port, axis in kept.axes.items()}

    def _linear(self, site: Site, module: str, prefix: str) -> Mapping[str, State]:
        assert isinstance(site.node.action, OpNode)
        tie = site.node.action.shares.get("weight")
        out = site.typed.outputs["y"]
        size = out.shape[-1].constant or 0
        if site.op == "linear":
            table = "" if tie is None else prefix + str(tie.value).rpartition(".")[0]
            self.heads[module] = Head(size, table)
        if tie is not None or module in self.whole:
            return {}
        return {"y": Split(out.rank - 1, self._open(site, module, COLWISE, size, "out"))}

    def _end(self, site: Site, module: str, split: Split) -> Mapping[str, State]:
        """A linear map that contracts the split axis."""
        assert isinstance(site.node.action, OpNode)
        if split.axis != site.values["x"][0][0].rank - 1:
            raise Whole(f"`{site.node.name}` maps each part by the same weights")
        if site.node.action.shares:
            raise Whole(f"`{site.node.name}` shares its weight")
        if site.op == "grouped_linear" and site.typed.attrs["bias"]:
            raise Whole(f"`{site.node.name}` adds a bias before the ranks' results are added")
        if module in self.whole:
            raise Whole(f"`{site.node.name}` is to be whole")
        group = self.groups.of(split.group)
        group.add(module, ROWWISE)
        group.ends = True
        return {}

    def _table(self, site: Site, module: str, given: bool) -> Mapping[str, State]:
        rows, columns = (d.constant or 0 for d in site.typed.weights[0].shape)
        known = self.tables.get(module)
        self.tables[module] = Table(rows, columns, given and (known is None or known.given))
        if given or module in self.whole:
            return {}
        rank = site.typed.outputs["y"].rank
        return {"y": Split(rank - 1, self._open(site, module, TABLE_COLUMNS, columns, "dim"))}

    def _open(self, site: Site, module: str, style: str, size: int, attr: str) -> str:
        assert isinstance(site.node.action, OpNode)
        span = site.node.action.attrs[attr].span
        return self.groups.open(module, style, Count(size, site.node.name, span))

    def _break(self, state: State, reason: str) -> None:
        if isinstance(state, Split):
            self.groups.of(state.group).stop(reason)

    def _alike(self, a: State, b: State, node: Node) -> None:
        """A value and what stands in for it where the node does not run."""
        if isinstance(a, Split) and isinstance(b, Split):
            self.groups.join([a.group, b.group])
        if isinstance(a, Split) or isinstance(b, Split):
            axes = [s.axis for s in (a, b) if isinstance(s, Split)]
            if axes[0] != axes[-1] or len(axes) == 1:
                for state in (a, b):
                    self._break(state, f"`{node.name}` may be left out, and what stands in for it is whole")


def _refs(block: TypedBlock) -> list[Ref]:
    made = [Ref(typed.node.name, port) for typed in block.nodes for port in typed.outputs]
    return [*(Ref(name) for name in block.inputs), *made]


def _site(typed: TypedNode, block: TypedBlock, values: Mapping[Ref, State]) -> Site:
    found: dict[str, tuple[tuple[TensorType, Split | None], ...]] = {}
    for port, wire in typed.node.inputs.items():
        refs = wire if isinstance(wire, tuple) else (wire,)
        states = [values.get(ref) for ref in refs]
        found[port] = tuple(
            (block.type_of(ref), state if isinstance(state, Split) else None)
            for ref, state in zip(refs, states, strict=True)
        )
    single = {p: found[p][0][0] for p, wire in typed.node.inputs.items() if isinstance(wire, Ref)}
    lists = {
        p: tuple(t for t, _ in found[p]) for p, wire in typed.node.inputs.items() if isinstance(wire, tuple)
    }
    return Site(typed, block, OpCall(single, lists, typed.attrs, named_sizes(block), _as_is), found)


def _as_is(length: Dim) -> Dim:
    return length
