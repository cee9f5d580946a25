"""infer_shapes: Graph -> TypedGraph. Every value gets a dtype and a symbolic shape, or a fault why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from compiler.diagnostics.diagnostic import Abort, Diagnostics, Note
from compiler.ir.dims import Dim, Proof, dim, symbol
from compiler.ir.graph import Attr, Block, Graph, Node, OpNode, Ref, RepeatNode, SameNode, UseNode
from compiler.ir.opdef import OpCall, OpDef, OpFault
from compiler.ir.typed import TypedBlock, TypedGraph, TypedNode
from compiler.ir.types import TensorType
from compiler.ir.values import Value, ValueFault
from compiler.ops.table import OPS
from compiler.passes.bind import Binder, forced
from compiler.passes.derive import input_notes, op_fault, size_of, value_notes
from compiler.passes.initial import check_source
from compiler.passes.judge import (
    check_bounds,
    check_member_name,
    check_shares,
    check_size,
    check_weights,
    has_cache,
    kind_fault,
)
from compiler.source.text import Span

KEY_LENGTH = "K"


def infer_shapes(graph: Graph) -> TypedGraph:
    """Raises CompileError with every shape and dtype fault that does not follow from another."""
    cached: frozenset[Dim] = frozenset()
    if has_cache(graph.root):
        scout = _Inference(Diagnostics(), cached)  # finds the lengths; its faults are found again below
        with scout.diagnostics.recover():
            scout.root(graph)
        cached = frozenset(scout.lengths)
    inference = _Inference(Diagnostics(), cached)
    root = None
    with inference.diagnostics.recover():
        root = inference.root(graph)
    check_bounds(graph.max_dims, root, [KEY_LENGTH] if cached else [], inference.diagnostics)
    inference.diagnostics.check()
    assert root is not None
    return TypedGraph(graph, root, cached)


@dataclass
class _Open:
    """A block whose nodes are being typed."""

    block: Block
    binder: Binder
    types: dict[Ref, TensorType] = field(default_factory=dict[Ref, TensorType])
    spans: dict[str, Span] = field(default_factory=dict[str, Span])
    nodes: dict[str, TypedNode] = field(default_factory=dict[str, TypedNode])


@dataclass
class _Inference:
    """cached: the lengths of which earlier tokens are remembered. lengths: those that a cache counted."""

    diagnostics: Diagnostics
    cached: frozenset[Dim]
    lengths: set[Dim] = field(default_factory=set[Dim])
    dims: dict[str, dict[str, Dim]] = field(default_factory=dict[str, dict[str, Dim]])

    def root(self, graph: Graph) -> TypedBlock:
        """The spec itself, its inputs symbolic."""
        return self.block(graph.root, {p.name: None for p in graph.root.inputs}, {})

    def block(
        self, block: Block, types: Mapping[str, TensorType | None], spans: Mapping[str, Span]
    ) -> TypedBlock:
        """Type an instance. A type of None marks an input of the spec, whose free dims become symbols."""
        title = f"block `{block.name}`" if block.path else f"spec `{block.name}`"
        binder = Binder(title, block.path, self._params(block), self.diagnostics)
        self.dims[block.path] = binder.dims
        here = _Open(block, binder)
        for port in block.inputs:
            with self.diagnostics.recover():
                found = types[port.name]
                if found is None:
                    found = self._symbolic(binder, port.name, block)
                if port.pattern is not None:
                    binder.bind(port, found, spans.get(port.name, port.span))
                here.types[Ref(port.name)] = found
                here.spans[port.name] = port.span
        self._check_params(here)
        for node in block.nodes:
            with self.diagnostics.recover():
                typed = self._node(node, here)
                check_member_name(node, typed, self.diagnostics)
                here.nodes[node.name] = typed
                here.spans[node.name] = node.span
                check_size(typed, self.diagnostics)
                for port_name, found in typed.outputs.items():
                    here.types[Ref(node.name, port_name)] = found
        check_source(here.nodes, self.diagnostics)
        inputs = {p.name: here.types[Ref(p.name)] for p in block.inputs if Ref(p.name) in here.types}
        params = {n: self._quiet(a) for n, a in block.params.items()}
        return TypedBlock(block, binder.dims, params, inputs, tuple(here.nodes.values()))

    def _params(self, block: Block) -> Callable[[str], Value]:
        def param(name: str) -> Value:
            return forced(block.params[name].value, self.dims)

        return param

    def _quiet(self, attr: Attr) -> Value:
        try:
            return forced(attr.value, self.dims)
        except ValueFault:
            return None

    def _check_params(self, here: _Open) -> None:
        for attr in here.block.params.values():
            with self.diagnostics.recover():
                self._forced(attr, here)

    def _forced(self, attr: Attr, here: _Open) -> Value:
        try:
            return forced(attr.value, self.dims)
        except ValueFault as fault:
            notes = value_notes(attr.span, here.block, here.binder)
            raise self.diagnostics.error("expr-value", str(fault), attr.span, notes=notes) from None

    def _symbolic(self, binder: Binder, name: str, block: Block) -> TensorType:
        """The type of a spec input: axes that are no params become symbols."""
        port = block.input(name)
        assert port.pattern is not None
        shape: list[Dim] = []
        for axis in port.pattern.axes:
            if axis.size is None:
                raise self.diagnostics.error(
                    "bad-pattern", f"a spec input cannot hold `...`: {port.pattern}", port.span
                )
            label = axis.name
            if label is not None and label not in block.params:
                shape.append(symbol(label))
            else:
                shape.append(binder.expected(axis.size, port))
        return TensorType(port.pattern.dtype, tuple(shape))

    # -- nodes ----------------------------------------------------------------------------------------------

    def _node(self, node: Node, here: _Open) -> TypedNode:
        if any(ref not in here.types for ref in node.refs()):
            raise Abort(node.name)  # an earlier fault left an input untyped
        match node.action:
            case OpNode():
                return self._op(node, node.action, here)
            case UseNode(block=block):
                child = self._child(block, node, here)
                return TypedNode(node, _outputs(child), {}, (), child.flops, (child,))
            case RepeatNode():
                return self._repeat(node, node.action, here)
            case SameNode(target=target):
                return self._same(node, target, here)

    def _child(self, block: Block, node: Node, here: _Open, body: int = 0) -> TypedBlock:
        types: dict[str, TensorType | None] = {}
        for port in block.inputs:
            ref = node.inputs[port.name]
            types[port.name] = here.types[ref[body] if isinstance(ref, tuple) else ref]
        child = self.block(block, types, {**{p.name: node.span for p in block.inputs}, **node.input_spans})
        if any(ref not in _typed_refs(child) for ref in block.outputs.values()):
            raise Abort(node.name)
        return child

    def _repeat(self, node: Node, action: RepeatNode, here: _Open) -> TypedNode:
        children = tuple(self._child(body, node, here, k) for k, body in enumerate(action.bodies))
        carried = node.inputs[action.carried]
        assert isinstance(carried, Ref)
        before = here.types[carried]
        total = dim(0)
        for child, count in zip(
            children, [action.layers.count(k) for k in range(len(children))], strict=True
        ):
            after = next(iter(_outputs(child).values()))
            proof = _same(before, after)
            if proof is not Proof.PROVED:
                raise self.diagnostics.error(
                    "shape-mismatch" if proof is Proof.REFUTED else "shape-unknown",
                    f"the layers of `{node.name}` do not chain: one takes {before} and gives {after}",
                    node.span,
                    notes=(Note(f"the block `{child.block.name}` gives it here", _output_span(child)),),
                )
            total = total + child.flops * dim(count)
        ((name, found),) = list(_outputs(children[0]).items())[:1]
        outputs = {name: found, **{port: found for port in node.outputs if port.isdigit()}}
        return TypedNode(node, outputs, {}, (), total, children)

    def _same(self, node: Node, target: str, here: _Open) -> TypedNode:
        if target not in here.nodes:
            raise Abort(target)
        original = here.nodes[target]
        again = Node(
            node.name,
            node.span,
            original.node.action,
            node.inputs,
            node.outputs,
            input_spans=node.input_spans,
        )
        typed = self._node(again, here)
        if [w.shape for w in typed.weights] != [w.shape for w in original.weights]:
            raise self.diagnostics.error(
                "shape-mismatch",
                f"`{node.name}` calls `{target}` with an input that needs other weights",
                node.span,
                notes=(Note("the first call", original.node.span),),
            )
        return TypedNode(node, typed.outputs, typed.attrs, (), typed.flops, typed.children)

    def _op(self, node: Node, action: OpNode, here: _Open) -> TypedNode:
        op = OPS[action.op]
        attrs = {n: self._attr(op, n, a, here) for n, a in action.attrs.items()}
        call = self._call(node, attrs, here)
        if action.op == "cache" and attrs["mode"] == "append":
            self.lengths |= {size for size in [call.axes(str(attrs["axis"]))] if size is not None}
        try:
            typing = op.infer(call)
            flops = op.cost(call, typing)
        except OpFault as fault:
            notes = input_notes(node, here.types, here.spans)
            if fault.attr in action.attrs:
                notes = (*value_notes(action.attrs[fault.attr].span, here.block, here.binder), *notes)
            raise op_fault(fault, node, action, notes, self.diagnostics) from None
        weights = tuple(w for w in typing.weights if w.name not in action.shares)
        check_weights(node, weights, self.diagnostics)
        check_shares(node, action, typing, here.nodes, self.diagnostics)
        return TypedNode(node, typing.outputs, attrs, weights, flops)

    def _attr(self, op: OpDef, name: str, attr: Attr, here: _Open) -> Value:
        decl = op.attr(name)
        assert decl is not None
        value = self._forced(attr, here)
        if isinstance(value, Fraction) and decl.kind == "float":
            return float(value)
        wrong = kind_fault(decl, value)
        if wrong is not None:
            message = f"op `{op.name}`: {wrong.message}"
            notes = value_notes(attr.span, here.block, here.binder)
            raise self.diagnostics.error(wrong.code, message, attr.span, notes=notes, help=wrong.help)
        return value

    def _call(self, node: Node, attrs: Mapping[str, Value], here: _Open) -> OpCall:
        single: dict[str, TensorType] = {}
        lists: dict[str, tuple[TensorType, ...]] = {}
        for port, ref in node.inputs.items():
            if isinstance(ref, tuple):
                lists[port] = tuple(here.types[r] for r in ref)
            else:
                single[port] = here.types[ref]

        def axes(name: str) -> Dim | None:
            return size_of(name, here.block, here.binder)

        return OpCall(single, lists, attrs, axes, self._keys)

    def _keys(self, length: Dim) -> Dim:
        """How many keys queries of a length meet: K where earlier ones are remembered."""
        return symbol(KEY_LENGTH) if length in self.cached else length


def _outputs(child: TypedBlock) -> dict[str, TensorType]:
    return {name: child.type_of(ref) for name, ref in child.block.outputs.items()}


def _typed_refs(child: TypedBlock) -> set[Ref]:
    refs = {Ref(n) for n in child.inputs}
    return refs | {Ref(t.node.name, p) for t in child.nodes for p in t.outputs}


def _output_span(child: TypedBlock) -> Span:
    return next(iter(child.block.output_spans.values()))


def _same(a: TensorType, b: TensorType) -> Proof:
    if a.rank != b.rank or a.dtype != b.dtype:
        return Proof.REFUTED
    proofs = {x.compare(y) for x, y in zip(a.shape, b.shape, strict=True)}
    return next((p for p in (Proof.REFUTED, Proof.UNKNOWN) if p in proofs), Proof.PROVED)
