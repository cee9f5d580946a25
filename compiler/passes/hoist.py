"""hoist: TypedGraph -> TypedGraph. What every layer would compute alike is computed once, outside the layers.

Attention masks and rotations depend on values that a layer only passes on. The op inside keeps its place; its
preparation becomes a node of the outermost block that knows the value, and travels in as an input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from compiler.diagnostics.diagnostic import fail
from compiler.ir.dims import Dim, dim, symbol
from compiler.ir.graph import Attr, Block, InputPort, Node, OpNode, Ref, RepeatNode, UseNode
from compiler.ir.typed import TypedBlock, TypedGraph, TypedNode
from compiler.ir.types import TensorType
from compiler.ir.values import Value
from compiler.passes.infer_shapes import KEY_LENGTH
from compiler.passes.layers import alike
from compiler.source.text import Span


@dataclass(frozen=True)
class Request:
    """A preparation that a block needs: the op, the value it prepares (None: positions alone),
    and the result.
    """

    op: str
    source: Ref | None
    attrs: tuple[tuple[str, Value], ...]
    result: TensorType
    length: Dim

    def port(self) -> str:
        """The input that carries the result into a block; the same for any window."""
        if self.op == "rotation":
            return self._of("turn", "angle")
        return self._of("visible" if dict(self.attrs)["causal"] else "attend", "mask")

    def name(self) -> str:
        """The node that makes the result."""
        window = dict(self.attrs).get("window")
        return self.port() if window is None else self._of(f"nearest_{window}", "mask")

    def _of(self, base: str, usual: str) -> str:
        name = self.source.node if self.source is not None else usual
        return base if name == usual else f"{name}_{base}"


def hoist(graph: TypedGraph) -> TypedGraph:
    """The graph with attention masks and rotations prepared as far out as their inputs are known."""
    root, _ = _Hoist(graph.cached).block(graph.root, is_root=True)
    return replace(graph, root=root)


@dataclass(frozen=True)
class _Hoist:
    cached: frozenset[Dim]

    def block(self, typed: TypedBlock, is_root: bool) -> tuple[TypedBlock, dict[str, Request]]:
        """A block with its preparations as inputs, and what it asks of the block around it."""
        asked: dict[str, Request] = {}
        made: dict[Request, Ref] = {}
        nodes: list[TypedNode] = []
        for node in typed.nodes:
            node, requests = self._node(node, typed)
            for request in dict.fromkeys(r for wanted in requests.values() for r in wanted):
                if request in made:
                    continue
                if not is_root and _passes(request.source, typed):
                    name = request.port() if request.port() not in asked else request.name()
                    name = _free(name, typed, asked)
                    asked[name] = request
                    made[request] = Ref(name)
                else:
                    prepared = _prepare(request, typed, node)
                    nodes.append(prepared)
                    made[request] = Ref(prepared.node.name, "y")
            nodes.append(_wired(node, {port: [made[r] for r in wanted] for port, wanted in requests.items()}))
        return _with_ports(typed, tuple(nodes), asked, is_root), asked

    def _node(self, typed: TypedNode, block: TypedBlock) -> tuple[TypedNode, dict[str, list[Request]]]:
        """The node, and its own or its children's requests in terms of this block's values, one per child."""
        action = typed.node.action
        if isinstance(action, OpNode):
            return typed, {port: [request] for port, request in self._own(typed, action, block).items()}
        children: list[TypedBlock] = []
        every: list[dict[str, Request]] = []
        for k, child in enumerate(typed.children):
            changed, asked = self.block(child, is_root=False)
            children.append(changed)
            every.append({port: _outside(request, typed.node, k) for port, request in asked.items()})
        requests: dict[str, list[Request]] = {}
        for port in dict.fromkeys(p for asked in every for p in asked):
            known = next(asked[port] for asked in every if port in asked)
            requests[port] = [asked.get(port, known) for asked in every]
        return _with_children(typed, alike(children)), requests

    def _own(self, typed: TypedNode, action: OpNode, block: TypedBlock) -> dict[str, Request]:
        node = typed.node
        if action.op == "rotate":
            angle = node.inputs["angle"]
            assert isinstance(angle, Ref)
            found = block.type_of(angle)
            if found.rank != 3:
                return {}
            batch, length, count = found.shape
            result = TensorType("float", (dim(2), batch, dim(1), length, dim(2) * count))
            return {"angle": Request("rotation", angle, (("style", typed.attrs["style"]),), result, length)}
        if action.op != "attention":
            return {}
        mask, causal, window = node.inputs.get("mask"), bool(typed.attrs["causal"]), typed.attrs["window"]
        assert not isinstance(mask, tuple)
        q = node.inputs["q"]
        assert isinstance(q, Ref)
        length = block.type_of(q).shape[2]
        if mask is None and not (causal and (length in self.cached or window is not None)):
            return {}
        if mask is not None and block.type_of(mask).rank != 2:
            return {}
        keys = symbol(KEY_LENGTH) if length in self.cached else length
        batch, keys = (dim(1), keys) if mask is None else block.type_of(mask).shape
        result = TensorType("bool", (batch, dim(1), length if causal else dim(1), keys))
        counted = length if causal else dim(1)
        rule = (("causal", causal), ("window", window), ("needed", False))
        return {"mask": Request("attention_mask", mask, rule, result, counted)}


def _outside(request: Request, node: Node, child: int) -> Request:
    """A child's request in terms of the values that the node is wired to."""
    if request.source is None:
        return request
    source = node.inputs[request.source.node]
    return replace(request, source=source[child] if isinstance(source, tuple) else source)


def _passes(source: Ref | None, block: TypedBlock) -> bool:
    """Whether a value comes from outside the block."""
    return source is None or source.node in block.inputs


def _prepare(request: Request, block: TypedBlock, before: TypedNode) -> TypedNode:
    """The node that makes what was requested."""
    span = before.node.span
    inputs: dict[str, Ref] = {}
    if request.op == "rotation":
        assert request.source is not None
        inputs = {"angle": request.source, "like": _float_input(block, before)}
    else:
        if dict(request.attrs)["causal"]:
            inputs["x"] = _counted(block, request.length, span)
        if request.source is not None:
            inputs["mask"] = request.source
    name = _free(request.name(), block)
    attrs = {k: Attr(v, span) for k, v in request.attrs}
    needs_mask = request.op == "attention_mask" and not dict(request.attrs)["causal"]
    guard = tuple(r for p, r in inputs.items() if p == "mask" and needs_mask and _maybe(r, block))
    node = Node(name, span, OpNode(request.op, attrs), inputs, ("y",), guard)
    return TypedNode(node, {"y": request.result}, dict(request.attrs), (), dim(0))


def _maybe(ref: Ref, block: TypedBlock) -> bool:
    return any(p.name == ref.node and p.maybe for p in block.block.inputs)


def _float_input(block: TypedBlock, before: TypedNode) -> Ref:
    """A value of the module's dtype that is there before the node."""
    for ref in before.node.refs():
        if block.type_of(ref).dtype == "float":
            return ref
    raise AssertionError("no floating-point value reaches a rotation")


def _counted(block: TypedBlock, length: Dim, span: Span) -> Ref:
    """A value whose second axis counts the queries: what `positions` counts, or an input."""
    for typed in block.nodes:
        if isinstance(typed.node.action, OpNode) and typed.node.action.op == "positions":
            ref = typed.node.inputs["x"]
            assert isinstance(ref, Ref)
            if block.type_of(ref).shape[1] == length:
                return ref
    for name, found in block.inputs.items():
        if found.rank > 1 and found.shape[1] == length:
            return Ref(name)
    for typed in block.nodes:
        for port, found in typed.outputs.items():
            if found.rank > 1 and found.shape[1] == length:
                return Ref(typed.node.name, port)
    raise fail(
        "missing-input",
        f"no value has the {length} queries of this causal attention on its second axis",
        span,
        help="wire `positions` to what is counted",
    )


def _free(name: str, block: TypedBlock, others: Iterable[str] = ()) -> str:
    taken = set(block.inputs) | {n.node.name for n in block.nodes} | set(others)
    while name in taken:
        name += "_"
    return name


def _wired(typed: TypedNode, wires: Mapping[str, list[Ref]]) -> TypedNode:
    """The node with further inputs: one value, or one for each body of a repeat."""
    added = {port: refs[0] if len(set(refs)) == 1 else tuple(refs) for port, refs in wires.items()}
    return replace(typed, node=replace(typed.node, inputs={**typed.node.inputs, **added}))


def _with_children(typed: TypedNode, children: tuple[TypedBlock, ...]) -> TypedNode:
    """The node over changed children, without inputs that they no longer read."""
    if not children:
        return typed
    action = typed.node.action
    blocks = tuple(c.block for c in children)
    if isinstance(action, UseNode):
        action = UseNode(blocks[0])
    elif isinstance(action, RepeatNode):
        action = replace(action, bodies=blocks)
    read = {p.name for b in blocks for p in b.inputs}
    inputs = {p: r for p, r in typed.node.inputs.items() if p in read}
    return replace(typed, node=replace(typed.node, action=action, inputs=inputs), children=children)


def _with_ports(
    typed: TypedBlock, nodes: tuple[TypedNode, ...], asked: Mapping[str, Request], is_root: bool
) -> TypedBlock:
    """The block over changed nodes: with ports for what it asks,
    without ports that nothing reads any more.
    """
    block = typed.block
    read = {r.node for n in nodes for r in (*n.node.refs(), *n.node.guard)} | {
        r.node for r in block.outputs.values()
    }
    before = {r.node for n in typed.nodes for r in n.node.refs()}
    ports = [p for p in block.inputs if is_root or p.name in read or p.name not in before]
    ports += [
        InputPort(name, None, block.span, maybe=r.op == "attention_mask", capture=True)
        for name, r in asked.items()
    ]
    types = {**typed.inputs, **{name: r.result for name, r in asked.items()}}
    changed: Block = replace(block, inputs=tuple(ports), nodes=tuple(n.node for n in nodes))
    return replace(typed, block=changed, inputs={p.name: types[p.name] for p in ports}, nodes=nodes)
