"""What must hold of each level whatever the user wrote. A failure is a bug of the compiler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compiler.ir.graph import Block, Graph, Node, OpNode, Ref, RepeatNode, SameNode, UseNode
from compiler.ir.typed import TypedBlock, TypedGraph, TypedNode


class InvalidIR(Exception):
    """A level breaks a rule of its type."""


def verify_graph(graph: Graph) -> None:
    """Every reference resolves to an earlier value, and no name stands twice. Raises InvalidIR."""
    _verify_block(graph.root)
    known = _values(graph.root)
    for method in graph.methods:
        for ref in (*method.outputs.values(), *method.cut.values()):
            _need(ref in known, f"method {method.name}: {ref} is no value of the root")


def verify_typed(graph: TypedGraph) -> None:
    """Blocks are sound, every value has a type, every weight a fixed shape. Raises InvalidIR."""
    _verify_block(graph.root.block)
    _verify_types(graph.root)


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise InvalidIR(message)


def _unique(names: Sequence[str], where: str) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    _need(not twice, f"{where}: {', '.join(twice)} stand twice")


# -- graphs -------------------------------------------------------------------------------------------------


def _values(block: Block) -> set[Ref]:
    return {Ref(p.name) for p in block.inputs} | {Ref(n.name, o) for n in block.nodes for o in n.outputs}


def _verify_block(block: Block) -> None:
    where = f"block {block.path or block.name}"
    _unique([*(p.name for p in block.inputs), *(n.name for n in block.nodes)], where)
    known = {Ref(p.name) for p in block.inputs}
    for node in block.nodes:
        for ref in (*node.refs(), *node.guard):
            _need(ref in known, f"{where}: {node.name} reads {ref}, which is no earlier value")
        _unique(node.outputs, f"{where}: outputs of {node.name}")
        _verify_action(node, block, where)
        known |= {Ref(node.name, o) for o in node.outputs}
    for name, ref in block.outputs.items():
        _need(ref in known, f"{where}: the output {name} is {ref}, which is no value")
    for port in block.inputs:
        _need(port.default is None or port.default in known, f"{where}: {port.name} defaults to no value")


def _verify_action(node: Node, block: Block, where: str) -> None:
    earlier = [n.name for n in block.nodes[: block.nodes.index(node)]]
    match node.action:
        case UseNode(block=inner):
            _need(
                set(node.inputs) == _ports(inner),
                f"{where}: the wires of {node.name} are not the ports of {inner.name}",
            )
            _need(
                set(node.outputs) == set(inner.outputs),
                f"{where}: {node.name} gives other values than {inner.name}",
            )
            _verify_block(inner)
        case RepeatNode() as repeat:
            _verify_repeat(node, repeat, where)
        case SameNode(target=target):
            _need(target in earlier, f"{where}: {node.name} calls {target} again, which is no earlier node")


def _ports(block: Block) -> set[str]:
    return {p.name for p in block.inputs}


def _verify_repeat(node: Node, repeat: RepeatNode, where: str) -> None:
    where = f"{where}: repeat {node.name}"
    bodies = range(len(repeat.bodies))
    _need(len(repeat.layers) == len(repeat.modules) > 0, f"{where}: layers and modules differ in number")
    _need(set(repeat.layers) == set(bodies), f"{where}: a body without a layer, or a layer without a body")
    _need(len(repeat.labels) == len(repeat.bodies), f"{where}: a label per body")
    _need(
        set(repeat.modules) == set(range(len(set(repeat.modules)))),
        f"{where}: modules are not counted from 0",
    )
    kinds = set(zip(repeat.modules, repeat.layers, strict=True))
    _need(len(kinds) == len(set(repeat.modules)), f"{where}: one module has two bodies")
    for body in repeat.bodies:
        _need(repeat.carried in _ports(body), f"{where}: {body.path} does not take {repeat.carried}")
        _need(_ports(body) <= set(node.inputs), f"{where}: {body.path} has ports that nothing feeds")
        _verify_block(body)


# -- typed graphs -------------------------------------------------------------------------------------------


def _verify_types(typed: TypedBlock) -> None:
    where = f"block {typed.block.path or typed.block.name}"
    _need(set(typed.inputs) == _ports(typed.block), f"{where}: inputs and their types differ")
    _need(
        tuple(n.node for n in typed.nodes) == typed.block.nodes,
        f"{where}: the typed nodes are not the block's",
    )
    earlier: set[str] = set()
    for node in typed.nodes:
        _verify_ties(node.node, earlier, where)
        earlier.add(node.node.name)
        _need(
            set(node.outputs) == set(node.node.outputs),
            f"{where}: outputs of {node.node.name} without a type",
        )
        for weight in node.weights:
            fixed = all(size.constant is not None for size in weight.shape)
            _need(fixed, f"{where}: the weight {node.node.name}.{weight.name} has no fixed shape")
        blocks = _blocks(node)
        _need(
            blocks is None or blocks == tuple(c.block for c in node.children),
            f"{where}: {node.node.name} has other children",
        )
        for child in node.children:
            _verify_types(child)


def _verify_ties(node: Node, earlier: set[str], where: str) -> None:
    """Ties lead to earlier nodes: inference has refused what the user tied to anything else."""
    if isinstance(node.action, OpNode):
        for name, attr in node.action.shares.items():
            owner = str(attr.value).rpartition(".")[0]
            _need(
                owner in earlier,
                f"{where}: {node.name}.{name} is tied to {attr.value}, which is no earlier node's",
            )


def _blocks(node: TypedNode) -> tuple[Block, ...] | None:
    """The blocks that a node's children type; None where another node holds them."""
    match node.node.action:
        case UseNode(block=block):
            return (block,)
        case RepeatNode(bodies=bodies):
            return bodies
        case OpNode():
            return ()
        case SameNode():
            return None


def weights(typed: TypedBlock, prefix: str = "") -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Name, shape and dtype of every weight, in the order of the nodes."""
    for node in typed.nodes:
        name = prefix + node.node.name
        for weight in node.weights:
            shape = tuple(size.constant or 0 for size in weight.shape)
            yield name + (f".{weight.name}" if weight.name else ""), shape, weight.dtype
        match node.node.action:
            case UseNode():
                yield from weights(node.children[0], f"{name}.")
            case RepeatNode() as repeat:
                bodies = dict(zip(repeat.modules, repeat.layers, strict=True))
                for module in range(len(bodies)):
                    yield from weights(node.children[bodies[module]], f"{name}.{module}.")
            case _:
                continue
