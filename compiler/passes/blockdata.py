"""Block-valued params as plain data, for tables that name them:
`{use: llama3_rope_table, with: {base: 5e5}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from compiler.ir.program import Program
from compiler.ir.values import Value
from compiler.passes.scope import Closure


def block_params(program: Program) -> Mapping[str, Any]:
    """The spec's params that are blocks, written out."""
    params = program.typed.graph.root.params
    return {name: closure_data(a.value) for name, a in params.items() if isinstance(a.value, Closure)}


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
