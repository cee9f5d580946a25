"""Block-valued params as plain data, for tables that name them: {use: rope_table, with: {base: 5e5}}."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from compiler.ir.graph import Block, RepeatNode, UseNode
from compiler.ir.program import Program
from compiler.ir.values import Value
from compiler.passes.scope import Closure


def block_params(program: Program) -> Mapping[str, Any]:
    """The spec's params that are blocks, written out; what they leave to the block's defaults included."""
    root = program.typed.graph.root
    closures = {name: a.value for name, a in root.params.items() if isinstance(a.value, Closure)}
    return {name: _with_defaults(closure_data(closure), root) for name, closure in closures.items()}


def _with_defaults(data: dict[str, Any], root: Block) -> dict[str, Any]:
    """The params of an instance that the graph has of this block."""
    for block in _instances(root):
        held = {name: _plain(attr.value) for name, attr in block.params.items()}
        if block.name == data["use"] and held.items() >= data["with"].items():
            return {"use": data["use"], "with": held}
    return data


def _instances(block: Block) -> Iterator[Block]:
    yield block
    for node in block.nodes:
        inner = node.action
        if isinstance(inner, UseNode):
            yield from _instances(inner.block)
        elif isinstance(inner, RepeatNode):
            for body in inner.bodies:
                yield from _instances(body)


def closure_data(closure: Closure) -> dict[str, Any]:
    """The block that a closure uses and the params that it sets."""
    node, scope = closure.node, closure.scope
    used = scope.value(node.use) if node.use is not None else node.op and node.op.value
    if isinstance(used, Closure):
        return closure_data(used)
    return {"use": used, "with": {str(k): _plain(scope.value(v)) for k, v in node.params.items()}}


def _plain(value: Value) -> Any:
    if isinstance(value, Closure):
        return closure_data(value)
    return float(value) if isinstance(value, Fraction) else value
