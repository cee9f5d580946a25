"""Expressions of weight maps on plain values: `let`, `index`, `when` and config tables. Exact for whole numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.syntax.expr import (
    Binary,
    Call,
    Const,
    Expr,
    ExprError,
    IfElse,
    Item,
    ListExpr,
    Name,
    Unary,
    parse_expr,
)
from compiler.syntax.yaml import Located

MAX_INT = 1 << 63

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(expr: Expr, scope: Mapping[str, Any]) -> Any:
    """The value of an expression. Raises ExprError for unknown names, wrong types and inexact or huge results."""
    match expr:
        case Const(value=value):
            return value
        case Name(name=name, start=start, end=end):
            if name not in scope:
                raise ExprError(f"there is no param `{name}`", start, end, did_you_mean(name, scope))
            return scope[name]
        case Unary(op="not", operand=operand):
            return not evaluate(operand, scope)
        case Unary(operand=operand):
            return -_number(evaluate(operand, scope))
        case IfElse(test=test, then=then, other=other):
            return evaluate(then if evaluate(test, scope) else other, scope)
        case Binary(op="and", left=left, right=right):
            return evaluate(left, scope) and evaluate(right, scope)
        case Binary(op="or", left=left, right=right):
            return evaluate(left, scope) or evaluate(right, scope)
        case Binary(op=op, left=left, right=right):
            return _binary(op, evaluate(left, scope), evaluate(right, scope))
        case Call(name="min" | "max" as name, args=args):
            return (min if name == "min" else max)(_number(evaluate(a, scope)) for a in args)
        case ListExpr(items=items):
            return [evaluate(item, scope) for item in items]
        case Item(value=value, index=index):
            return _item(evaluate(value, scope), evaluate(index, scope))
        case Call(name=name):
            raise ExprError(f"`{name}` has no meaning in a weight map", 0, 1)


def evaluate_text(text: Located, scope: Mapping[str, Any], diagnostics: Diagnostics) -> Any:
    """The value of a scalar that is an expression; its leading `=` may be left out. Raises Abort, fault reported."""
    if not isinstance(text.value, str):
        return text.value
    source = text.value.removeprefix("=")
    shift = len(text.value) - len(source)
    try:
        return evaluate(parse_expr(source), scope)
    except ExprError as error:
        code = "expr-name" if error.message.startswith("there is no param") else "expr-value"
        span = text.part(error.start + shift, max(error.end, error.start + 1) + shift)
        raise diagnostics.error(code, error.message, span, help=error.help) from None


def _binary(op: str, left: Any, right: Any) -> Any:
    if op == "==":
        return left == right and isinstance(left, bool) == isinstance(right, bool)
    if op == "!=":
        return not _binary("==", left, right)
    a, b = _number(left), _number(right)
    if op in _COMPARE:
        return _COMPARE[op](a, b)
    if op in ("/", "//", "%") and b == 0:
        raise ExprError("division by zero", 0, 1)
    if op == "/":
        return _plain(Fraction(a) / b) if isinstance(a, int | Fraction) and isinstance(b, int | Fraction) else a / b
    if op == "**":
        if not isinstance(b, int) or not -64 <= b <= 64:
            raise ExprError("a power takes a whole number up to 64", 0, 1)
        return _plain(a**b)
    return _plain(_ARITHMETIC[op](a, b))


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise ExprError(f"a number belongs here, not {value!r}", 0, 1)
    return value


def _plain(value: Any) -> Any:
    """Whole fractions as int, others as float; refuses numbers that no tensor size can be."""
    if isinstance(value, Fraction):
        value = value.numerator if value.denominator == 1 else float(value)
    if isinstance(value, int) and abs(value) > MAX_INT:
        raise ExprError("the number is larger than 2^63", 0, 1)
    return value


def _item(value: Any, index: Any) -> Any:
    if isinstance(value, list) and isinstance(index, int) and 0 <= index < len(value):
        return value[index]
    raise ExprError(f"{value!r} has no item {index!r}", 0, 1)
