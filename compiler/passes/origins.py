"""Where a value was written: through the params that only pass it on, to the text that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.diagnostics.diagnostic import Abort, Note
from compiler.ir.values import spell
from compiler.syntax.expr import Expr, ExprError, Name, free_names, parse_expr
from compiler.syntax.schema import Value as Written
from compiler.syntax.yaml import Located

if TYPE_CHECKING:
    from compiler.passes.scope import Scope

MAX_HOPS = 32
MAX_NOTES = 4


def follow(written: Written, scope: Scope) -> tuple[Written, Scope]:
    """`=act`, which is `=mlp_act`, which is `gelu`: the last of them, and the scope in which it stands."""
    for _ in range(MAX_HOPS):
        expr = _expression(written)
        if not isinstance(expr, Name):
            break
        holder = scope.holder(expr.name)
        if holder is None or expr.name in holder.unset:
            break
        given = holder.given[expr.name]
        written, scope = given.value, given.scope
    return written, scope


def origins(written: Written, scope: Scope) -> tuple[Note, ...]:
    """The value of each param that an expression names, and the place that gave it."""
    expr = _expression(written)
    if expr is None:
        return ()
    notes: list[Note] = []
    for name in sorted(free_names(expr), key=written.text.find):
        holder = scope.holder(name)
        if holder is None:
            continue
        try:
            value = holder.lookup(name)
        except Abort:
            continue  # its own fault is reported
        place, _ = follow(holder.given[name].value, holder.given[name].scope)
        notes.append(Note(f"`{name}` is {spell(value)}", place.span))
    return tuple(notes[:MAX_NOTES])


def _expression(written: Written) -> Expr | None:
    if isinstance(written, Located) and isinstance(written.value, str) and written.value.startswith("="):
        try:
            return parse_expr(written.value[1:])
        except ExprError:
            return None  # reported where it is evaluated
    return None
