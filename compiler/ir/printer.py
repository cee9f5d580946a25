"""The canonical text of the graph and the typed graph: YAML, one line per op, nothing of files or comments.

Equal architectures print equally, whatever their files look like; `spec.lock.yaml` holds the typed form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from compiler.ir.flow import data, flow, mapping, sequence, text
from compiler.ir.graph import Attr, Block, Graph, InputPort, Node, OpNode, Ref, RepeatNode, SameNode, UseNode
from compiler.ir.typed import TypedBlock, TypedGraph, TypedNode
from compiler.ir.types import TensorType
from compiler.ir.values import Value

Lines = Iterator[str]


def print_graph(graph: Graph) -> str:
    """Names bound and blocks expanded; types still as declared."""
    return "\n".join(["graph:", *_indented(_root(graph, _untyped(graph.root)))]) + "\n"


def print_typed(graph: TypedGraph) -> str:
    """Every value with its type, every attribute computed, every weight with its shape."""
    return "\n".join(["typed:", *_indented(_root(graph.graph, _typed(graph.root)))]) + "\n"


@dataclass(frozen=True)
class _View:
    """A block of either level: `types`, `attrs` and `weights` are what only the typed level knows."""

    block: Block
    params: Mapping[str, Value]
    dims: Mapping[str, Value]
    type_of: Callable[[InputPort], str]
    attrs: Callable[[Node], Mapping[str, Value]]
    found: Callable[[Node], list[tuple[str, str]]]
    children: Callable[[Node], list[_View]]


def _untyped(block: Block) -> _View:
    def attrs(node: Node) -> Mapping[str, Value]:
        return _values(node.action.attrs) if isinstance(node.action, OpNode) else {}

    def children(node: Node) -> list[_View]:
        match node.action:
            case UseNode(block=inner):
                return [_untyped(inner)]
            case RepeatNode(bodies=bodies):
                return [_untyped(b) for b in bodies]
            case _:
                return []

    def declared(port: InputPort) -> str:
        return (
            text(port.pattern.text) if port.pattern is not None else "captured" + ("?" if port.maybe else "")
        )

    return _View(block, _values(block.params), {}, declared, attrs, lambda node: [], children)


def _typed(typed: TypedBlock) -> _View:
    def found(node: Node) -> list[tuple[str, str]]:
        step = typed.node(node.name)
        weights = ((w.name or node.name, text(str(TensorType(w.dtype, w.shape)))) for w in step.weights)
        outputs = ((name, text(str(t))) for name, t in step.outputs.items())
        return [("weights", mapping(weights))] * bool(step.weights) + [("gives", mapping(outputs))]

    def type_of(port: InputPort) -> str:
        return text(f"{typed.inputs[port.name]}{'?' if port.maybe else ''}")

    return _View(
        typed.block,
        typed.params,
        {name: size for name, size in typed.dims.items() if str(size) != name},
        type_of,
        lambda node: typed.node(node.name).attrs,
        found,
        lambda node: [_typed(c) for c in _own_children(typed.node(node.name))],
    )


def _own_children(step: TypedNode) -> tuple[TypedBlock, ...]:
    """A second call of a node repeats nothing of it."""
    return () if isinstance(step.node.action, SameNode) else step.children


def _root(graph: Graph, view: _View) -> Lines:
    yield f"spec: {text(graph.root.name)}"
    yield from _block(view)
    if graph.max_dims:
        yield f"bounds: {data(_values(graph.max_dims))}"
    if graph.methods:
        yield "methods:"
    for method in graph.methods:
        cut = [("cut", _refs(method.cut))] if method.cut else []
        yield f"  {text(method.name)}: {mapping([('outputs', _refs(method.outputs)), *cut])}"
    if graph.init:
        yield "init:"
    for rule in graph.init:
        yield f"  {text(rule.pattern)}: {flow(rule.value)}"
    if graph.io:
        yield f"io: {data(graph.io)}"


def _block(view: _View) -> Lines:
    if view.params:
        yield f"params: {data(view.params)}"
    if view.dims:
        yield f"dims: {data(view.dims)}"
    yield "inputs:"
    for port in view.block.inputs:
        default = f", default: {_ref(port.default)}" if port.default is not None else ""
        found = view.type_of(port)
        yield f"  {text(port.name)}: " + (f"{{type: {found}{default}}}" if default else found)
    yield "nodes:" if view.block.nodes else "nodes: {}"
    for node in view.block.nodes:
        yield from _indented(_node(node, view))
    yield f"outputs: {_refs(view.block.outputs)}"
    if view.block.early:
        yield f"early: {text(view.block.early)}"


def _node(node: Node, view: _View) -> Lines:
    head = [("in", _wires(node.inputs))]
    if node.guard:
        head.append(("when", sequence(map(_ref, node.guard))))
    if node.fallback is not None:
        head.append(("else", _ref(node.fallback)))
    match node.action:
        case OpNode(op=op, shares=shares):
            attrs = view.attrs(node)
            parts = [("op", text(op)), *head] + [("with", data(attrs))] * bool(attrs)
            parts += [("share", data(_values(shares)))] * bool(shares)
            yield f"{text(node.name)}: {mapping([*parts, *view.found(node)])}"
        case SameNode(target=target):
            yield f"{text(node.name)}: {mapping([('same_as', text(target)), *head, *view.found(node)])}"
        case UseNode(block=block):
            yield f"{text(node.name)}:"
            yield from _indented(_fields([("use", text(block.name)), *head]))
            for child in view.children(node):
                yield from _indented(_block(child))
        case RepeatNode() as repeat:
            yield f"{text(node.name)}:"
            yield from _indented(_fields([*_repeat(repeat), *head]))
            yield "  bodies:"
            for label, child in zip(repeat.labels, view.children(node), strict=True):
                yield f"    - use: {text(child.block.name)}"
                yield from _indented(_indented(_indented(_body(label, child))))


def _repeat(repeat: RepeatNode) -> list[tuple[str, str]]:
    """How the layers run; what every plain repeat has is left out."""
    count = len(repeat.layers)
    found = [("repeat", str(count)), ("carried", text(repeat.carried))]
    if len(repeat.bodies) > 1:
        found.append(("layers", flow(repeat.layers)))
    if repeat.modules != tuple(range(count)):
        found.append(("modules", flow(repeat.modules)))
    return found


def _body(label: str, child: _View) -> Lines:
    if label:
        yield f"kind: {text(label)}"
    yield from _block(child)


def _fields(fields: list[tuple[str, str]]) -> Lines:
    return (f"{name}: {value}" for name, value in fields)


def _indented(lines: Lines) -> Lines:
    return ("  " + line for line in lines)


def _values(attrs: Mapping[str, Attr]) -> dict[str, Value]:
    return {name: attr.value for name, attr in attrs.items()}


def _ref(ref: Ref) -> str:
    return text(str(ref))


def _refs(refs: Mapping[str, Ref]) -> str:
    return mapping((name, _ref(ref)) for name, ref in refs.items())


def _wires(inputs: Mapping[str, Ref | tuple[Ref, ...]]) -> str:
    return mapping(
        (port, sequence(map(_ref, refs)) if isinstance(refs, tuple) else _ref(refs))
        for port, refs in inputs.items()
    )
