"""Values of params and attributes, and the arithmetic of expressions over them.

`/` is an exact rational; sizes may be symbolic (`Dim`). What cannot be computed yet, because it mentions a
dimension that only shape inference binds, stays an expression whose names are `DimName`s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from compiler.ir.dims import Dim, Proof, dim
from compiler.syntax.expr import Binary, Call, Const, Expr, IfElse, Item, ListExpr, Name, Unary, children

Number = int | float | Fraction
Value = Any  # int | float | Fraction | bool | str | None | Dim | tuple[Value, ...] | a closure of `resolve`


@dataclass(frozen=True)
class DimName:
    """A dimension of a block instance, bound in shape inference."""

    block: str  # path of the instance
    name: str

    def __str__(self) -> str:
        return f"{self.block}.{self.name}" if self.block else self.name


@dataclass(frozen=True)
class Residual:
    """An expression that waits for dimensions (or for the inputs of a `map`)."""

    expr: Expr | DimName
    args: tuple[Value, ...] = ()

    def __str__(self) -> str:
        return spell(self)


@dataclass(frozen=True)
class Record:
    """A mapping that is no block, such as an init rule `{normal: {std: 0.02}}`."""

    items: tuple[tuple[str, Value], ...]

    def __str__(self) -> str:
        return "{" + ", ".join(f"{k}: {spell(v)}" for k, v in self.items) + "}"

    def get(self, name: str) -> Value:
        """The value of a name, null where it has none."""
        return dict(self.items).get(name)


class ValueFault(Exception):
    """An expression has no value. The message is for users."""


Lookup = Callable[[Name], Value]


def evaluate(expr: Expr, lookup: Lookup) -> Value:
    """The value of an expression, or a Residual if a name in it is one. Raises ValueFault."""
    match expr:
        case Const(value=value):
            return value
        case Name():
            return lookup(expr)
        case Call(name="present"):
            raise ValueFault("`present(x)` stands alone, in a `when`")
        case IfElse(test=test, then=then, other=other):
            chosen = evaluate(test, lookup)
            if isinstance(chosen, Residual):
                return Residual(expr, (chosen, evaluate(then, lookup), evaluate(other, lookup)))
            return evaluate(then if truth(chosen) else other, lookup)
        case Binary(op="and" | "or" as op, left=left, right=right):
            first = evaluate(left, lookup)
            if isinstance(first, Residual):
                return Residual(expr, (first, evaluate(right, lookup)))
            return evaluate(right, lookup) if truth(first) == (op == "and") else first
    args = tuple(evaluate(part, lookup) for part in children(expr))
    if any(isinstance(a, Residual) for a in args):
        return Residual(expr, args)
    return apply(expr, args)


def force(value: Value, dims: Callable[[DimName], Value]) -> Value:
    """A value with its dimensions filled in. Residuals of `map` inputs (Names) stay."""
    if isinstance(value, tuple):
        return tuple(force(v, dims) for v in value)
    if isinstance(value, Record):
        return Record(tuple((k, force(v, dims)) for k, v in value.items))
    if not isinstance(value, Residual):
        return value
    if isinstance(value.expr, DimName):
        return dims(value.expr)
    if isinstance(value.expr, Name):
        return value
    args = tuple(force(a, dims) for a in value.args)
    expr = value.expr
    if isinstance(expr, IfElse) and not isinstance(args[0], Residual):
        return args[1] if truth(args[0]) else args[2]
    if isinstance(expr, Binary) and expr.op in ("and", "or") and not isinstance(args[0], Residual):
        return args[1] if truth(args[0]) == (expr.op == "and") else args[0]
    if any(isinstance(a, Residual) for a in args):
        return Residual(expr, args)
    return apply(expr, args)


def apply(expr: Expr, args: tuple[Value, ...]) -> Value:
    """One operation on values."""
    match expr:
        case Unary(op="not"):
            return not truth(args[0])
        case Unary():
            return normal(-number(args[0]))
        case Binary(op=op) if op in _COMPARISONS:
            return compare(op, args[0], args[1])
        case Binary(op=op):
            return arithmetic(op, args[0], args[1])
        case Call(name=name):
            return call(name, args)
        case Item():
            return _item(args[0], args[1])
        case ListExpr():
            return args
        case _:
            raise AssertionError(expr)


def truth(value: Value) -> bool:
    """The value as a condition: a bool, or null as false."""
    if isinstance(value, bool):
        return value
    if value is None:
        return False
    raise ValueFault(f"`{spell(value)}` is no condition; compare it with something")


def number(value: Value) -> Any:
    """The value, which must be a number or a dim."""
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction | Dim):
        raise ValueFault(f"`{spell(value)}` is not a number")
    return value


def normal(value: Value) -> Value:
    """Whole fractions and constant sizes as ints."""
    if isinstance(value, Fraction) and value.denominator == 1:
        value = int(value)
    if isinstance(value, Dim) and value.constant is not None:
        value = value.constant
    if isinstance(value, int) and abs(value) > 2**63:
        raise ValueFault("the number is larger than 2^63")
    if isinstance(value, Fraction) and max(abs(value.numerator), value.denominator) > 2**63:
        raise ValueFault("the fraction holds a number larger than 2^63")
    return value


_COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}


def compare(op: str, a: Value, b: Value) -> bool:
    """A comparison, where it can be decided."""
    if op in ("==", "!="):
        if isinstance(a, Dim) or isinstance(b, Dim):
            proof = as_dim(a).compare(as_dim(b))
            if proof is Proof.UNKNOWN:
                raise ValueFault(f"`{spell(a)} {op} {spell(b)}` depends on the input")
            return (proof is Proof.PROVED) == (op == "==")
        return (a == b and isinstance(a, bool) == isinstance(b, bool)) == (op == "==")
    x, y = number(a), number(b)
    if isinstance(x, Dim) or isinstance(y, Dim):
        raise ValueFault(f"`{spell(a)} {op} {spell(b)}` depends on the input")
    return bool({"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[op])


def as_dim(value: Value) -> Dim:
    """A value as a size. Raises ValueFault when it is no whole number."""
    if isinstance(value, Dim):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return dim(value)
    if isinstance(value, Fraction):
        raise ValueFault(f"{value.numerator} / {value.denominator} is not a whole number")
    raise ValueFault(f"`{spell(value)}` is not a whole number")


def arithmetic(op: str, a: Value, b: Value) -> Value:
    """An operation on two numbers or dims."""
    if op == "+" and isinstance(a, str) and isinstance(b, str):
        return a + b
    x, y = number(a), number(b)
    if isinstance(x, Dim) or isinstance(y, Dim):
        return normal(_dim_arithmetic(op, x, y))
    try:
        return normal(_number_arithmetic(op, x, y))
    except ZeroDivisionError:
        raise ValueFault(f"division by zero in `{spell(a)} {op} {spell(b)}`") from None
    except OverflowError:
        raise ValueFault(f"`{spell(a)} {op} {spell(b)}` is too large") from None


def _number_arithmetic(op: str, x: Any, y: Any) -> Value:
    if op == "/":
        return x / y if isinstance(x, float) or isinstance(y, float) else Fraction(x) / Fraction(y)
    if op == "**":
        if isinstance(y, int) and abs(y) > 4096:
            raise OverflowError
        if isinstance(x, int | Fraction) and isinstance(y, int):
            return Fraction(x) ** y
        if x < 0:
            raise ValueFault(f"a root of the negative number {x}")
        return float(x) ** float(y)
    return {
        "+": lambda: x + y,
        "-": lambda: x - y,
        "*": lambda: x * y,
        "//": lambda: x // y,
        "%": lambda: x % y,
    }[op]()


def _dim_arithmetic(op: str, x: Any, y: Any) -> Value:
    if isinstance(x, float) or isinstance(y, float):
        raise ValueFault(f"`{spell(x)} {op} {spell(y)}` depends on the input")
    if op == "**" and isinstance(y, int) and 0 <= y <= 8:
        out = dim(1)
        for _ in range(y):
            out = out * x
        return out
    left, right = as_dim(x), as_dim(y)
    if right.constant == 0 and op in ("/", "//", "%"):
        raise ValueFault(f"division by zero in `{spell(x)} {op} {spell(y)}`")
    if op == "/":
        quotient = left.exact_div(right)
        if quotient is None:
            raise ValueFault(f"`{left}` cannot be proved divisible by `{right}`")
        return quotient
    if op == "//":
        return left.floor_div(right)
    if op in ("+", "-", "*"):
        return {"+": left + right, "-": left - right, "*": left * right}[op]
    raise ValueFault(f"`{op}` is not defined on the symbolic size `{spell(x)}`")


def call(name: str, args: tuple[Value, ...]) -> Value:
    """A function of the grammar."""
    if name == "len":
        if isinstance(args[0], tuple):
            return len(args[0])
        raise ValueFault(f"`{spell(args[0])}` is not a list")
    if name == "cycle":
        return _cycle(*args)
    values = [number(a) for a in args]
    if any(isinstance(v, Dim) for v in values):
        raise ValueFault(f"`{name}` is not defined on symbolic sizes")
    try:
        return normal(_FUNCTIONS[name](*values))
    except (ValueError, OverflowError, ZeroDivisionError):
        raise ValueFault(f"`{name}({', '.join(map(spell, args))})` has no value") from None


MAX_CYCLE = 4096

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": lambda *xs: min(xs),
    "max": lambda *xs: max(xs),
    "abs": abs,
    "ceil_to": lambda x, k: math.ceil(Fraction(x) / k) * k,
    "floor": math.floor,
    "ceil": math.ceil,
    "int": math.trunc,
    "sign": lambda x: (x > 0) - (x < 0),
    "clamp": lambda x, low, high: min(max(x, low), high),
    "log": math.log,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}


def _cycle(items: Value, count: Value) -> Value:
    """A list's items in turn, `count` of them."""
    if not isinstance(items, tuple) or not items:
        raise ValueFault(f"`{spell(items)}` is not a list with items")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_CYCLE:
        raise ValueFault(f"`{spell(count)}` is not a whole number up to {MAX_CYCLE}")
    return tuple(items[k % len(items)] for k in range(count))


def _item(value: Value, index: Value) -> Value:
    if not isinstance(value, tuple) or not isinstance(index, int):
        raise ValueFault(f"`{spell(value)}` is not a list with a whole-number index")
    if not -len(value) <= index < len(value):
        raise ValueFault(f"the list has {len(value)} items, index {index} is outside")
    return value[index]


def spell(value: Value) -> str:
    """A value as it would be written in a spec."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Fraction():
            return f"{value.numerator} / {value.denominator}"
        case tuple():
            return "[" + ", ".join(spell(v) for v in value) + "]"
        case Residual():
            return _spell_residual(value)
        case _:
            return str(value)


def _spell_residual(value: Residual) -> str:
    args = [f"({spell(a)})" if isinstance(a, Residual) and a.args else spell(a) for a in value.args]
    match value.expr:
        case DimName() as name:
            return str(name)
        case Name(name=text):
            return text
        case Unary(op=op):
            return f"{op} {args[0]}" if op == "not" else f"-{args[0]}"
        case Binary(op=op):
            return f"{args[0]} {op} {args[1]}"
        case IfElse():
            return f"{args[1]} if {args[0]} else {args[2]}"
        case Call(name=text):
            return f"{text}({', '.join(args)})"
        case Item():
            return f"{args[0]}[{args[1]}]"
        case _:
            return "[" + ", ".join(args) + "]"
