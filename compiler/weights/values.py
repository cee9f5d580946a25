"""Expressions of weight maps: `let`, `index`, `when` and config tables, on plain values."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.values import ValueFault, evaluate, spell
from compiler.syntax.expr import Expr, ExprError, Name, parse_expr
from compiler.syntax.yaml import Located


def evaluate_text(text: Located, scope: Mapping[str, Any], diagnostics: Diagnostics) -> Any:
    """The value of a scalar that is an expression; its leading `=` may be left out.

    Raises Abort, fault reported.
    """
    if not isinstance(text.value, str):
        return text.value
    source = text.value.removeprefix("=")
    shift = len(text.value) - len(source)
    try:
        return value_of(parse_expr(source), scope)
    except UnknownName as error:
        span = text.part(error.name.start + shift, error.name.end + shift)
        near = did_you_mean(error.name.name, scope)
        raise diagnostics.error(
            "expr-name", f"there is no param `{error.name.name}`", span, help=near
        ) from None
    except ExprError as error:
        span = text.part(error.start + shift, error.end + shift)
        raise diagnostics.error("expr-syntax", error.message, span, help=error.help) from None
    except ValueFault as error:
        raise diagnostics.error("expr-value", str(error), text.span) from None


class UnknownName(ValueFault):
    """A name that is not in scope."""

    def __init__(self, name: Name) -> None:
        super().__init__(f"there is no `{name.name}`")
        self.name = name


def value_of(expr: Expr, scope: Mapping[str, Any]) -> Any:
    """An int, float, bool, str, None or list. Raises ValueFault."""

    def lookup(name: Name) -> Any:
        if name.name not in scope:
            raise UnknownName(name)
        value = scope[name.name]
        return tuple(value) if isinstance(value, list) else value

    value = evaluate(expr, lookup)
    if isinstance(value, Fraction):
        raise ValueFault(f"{spell(value)} is not a whole number")
    return list(value) if isinstance(value, tuple) else value
