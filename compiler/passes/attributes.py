"""The attributes of an op node: each declared one with its value or its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import Attr
from compiler.ir.opdef import AttrDecl, OpDef
from compiler.ir.values import Value, spell
from compiler.passes.origins import follow
from compiler.passes.scope import Scope
from compiler.passes.targets import Target
from compiler.source.text import Span
from compiler.syntax.schema import Value as Written
from compiler.syntax.yaml import Located


def attributes(
    target: Target, inputs: frozenset[str], span: Span, diagnostics: Diagnostics
) -> dict[str, Attr]:
    """Raises Abort after reporting an attribute that is missing, or has no value."""
    assert target.op is not None
    op, written = target.op, target.node.attrs
    for key in written:
        if op.attr(key) is None:
            cure = did_you_mean(key, [a.name for a in op.attrs])
            diagnostics.error(
                "unknown-field", f"op `{op.name}` has no attribute `{key}`", key.span, help=cure
            )
    for name, given in target.given.items():
        message = f"op `{op.name}` takes no params under `with`"
        diagnostics.error("unknown-param", message, given.span, help=f"write `{name}` beside `op:`")
    missing = [a for a in op.attrs if a.required and not any(k == a.name for k in written)]
    for decl in missing:
        fault = diagnostics.error("missing-field", f"op `{op.name}` needs the attribute `{decl.name}`", span)
    if missing:
        raise fault
    return {a.name: _attr(a, op, target.scope, written, inputs, span) for a in op.attrs}


def _attr(
    decl: AttrDecl,
    op: OpDef,
    scope: Scope,
    written: Mapping[Any, Written],
    inputs: frozenset[str],
    span: Span,
) -> Attr:
    found = next((v for k, v in written.items() if k == decl.name), None)
    if found is None:
        return Attr(decl.default, span)
    if decl.kind == "expr":
        return Attr(_expr(found, scope, inputs), found.span)
    value = scope.value(found)
    if decl.choices and value not in decl.choices:
        place, _ = follow(found, scope)
        raise scope.diagnostics.error(
            "bad-value",
            f"`{decl.name}` of op `{op.name}` cannot be `{spell(value)}`",
            place.span,
            notes=(Note(f"`{decl.name}` stands here", found.span),) if place is not found else (),
            help=did_you_mean(str(value), decl.choices),
        )
    return Attr(value, found.span)


def _expr(written: Written, scope: Scope, inputs: frozenset[str]) -> Value:
    if not isinstance(written, Located):
        raise scope.diagnostics.error("wrong-type", "expected an expression `=...`", written.span)
    if isinstance(written.value, str) and written.value.startswith("="):
        return scope.expression(written, inputs)
    return written.value
