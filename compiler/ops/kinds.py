"""The dtype of a `map` expression, and what of the grammar has no meaning on tensors.

Literals are weak: they take the dtype of the tensors they meet. Whole-number tensors become float32 in true
division, in the transcendentals and where they meet a fractional literal, whatever torch's default dtype is.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler.ir.dims import Dim
from compiler.ir.opdef import OpFault
from compiler.ir.types import TensorType
from compiler.ir.values import Residual, Value, spell
from compiler.syntax.expr import Binary, Call, IfElse, Name, Unary

WHOLE, FRACTION = "a whole number", "a number"  # weak kinds: literals, sizes and params
TRANSCENDENTAL = frozenset({"log", "exp", "sqrt", "sin", "cos", "tanh", "sigmoid"})
_NUMERIC = frozenset({"min", "max", "abs", "sign", "floor", "ceil"})
_ORDER = frozenset({"<", "<=", ">", ">="})
_COMPARISONS = _ORDER | {"==", "!="}


def kind_of(value: Value, inputs: Mapping[str, TensorType]) -> str:
    """A dtype, or WHOLE or FRACTION for what stays a number. Raises OpFault where types do not agree."""
    match value:
        case bool():
            return "bool"
        case int() | Dim():
            return WHOLE
        case Residual(expr=Name(name=name)):
            return inputs[name].dtype
        case Residual(expr=expr, args=args):
            kinds = [kind_of(a, inputs) for a in args]
            try:
                return _compound(expr, kinds, args)
            except OpFault as fault:
                raise OpFault(
                    fault.code, f"{fault} in `{spell(value)}`", attr="expr", help=fault.help
                ) from None
        case None | str() | tuple():
            raise OpFault("expr-value", f"`{spell(value)}` has no meaning on tensors", attr="expr")
        case _:
            return FRACTION


def read_names(value: Value) -> frozenset[str]:
    """The inputs that an expression reads, folded as it is."""
    if not isinstance(value, Residual):
        return frozenset()
    if isinstance(value.expr, Name):
        return frozenset({value.expr.name})
    return frozenset().union(*(read_names(a) for a in value.args))


def dtype_of(value: Value, inputs: Mapping[str, TensorType]) -> str:
    """The dtype of a whole expression."""
    kind = kind_of(value, inputs)
    return {WHOLE: "int", FRACTION: "float32"}.get(kind, kind)


def is_floating(kind: str) -> bool:
    """Whether a dtype has fractions."""
    return kind.startswith(("float", "bfloat"))


def is_whole(kind: str) -> bool:
    """Whether a dtype is one of whole-number tensors."""
    return kind.startswith("int")


def whole_power(base: str, exponent: Value) -> bool:
    """Whether a power of whole numbers is whole: the exponent is a literal that is not negative."""
    return is_whole(base) and isinstance(exponent, int) and exponent >= 0


def _compound(expr: object, kinds: list[str], args: tuple[Value, ...]) -> str:
    match expr:
        case Unary(op="not") | Binary(op="and" | "or"):
            _need_conditions(kinds)
            return "bool"
        case Binary(op=op) if op in _COMPARISONS:
            if op in _ORDER or set(kinds) != {"bool"}:
                _join(kinds)
            return "bool"
        case IfElse():
            _need_conditions(kinds[:1])
            return "bool" if set(kinds[1:]) == {"bool"} else _tensor(_join(kinds[1:]))
        case Binary(op="/" | "**" as op):
            whole = op == "**" and whole_power(kinds[0], args[1])
            return _join(kinds) if whole else _fractional(_join(kinds))
        case Unary() | Binary():
            return _join(kinds)
        case Call(name=name):
            return _called(name, kinds)
        case _:
            raise OpFault("expr-value", "lists have no meaning on tensors", attr="expr")


def _called(name: str, kinds: list[str]) -> str:
    if name == "int":
        return "int"
    if name == "clamp":
        return _join([_join(kinds[:2]), kinds[2]])
    if name in TRANSCENDENTAL:
        return _fractional(_join(kinds))
    if name in _NUMERIC:
        return _join(kinds)
    raise OpFault("expr-value", f"`{name}` has no meaning on tensors", attr="expr")


def _need_conditions(kinds: list[str]) -> None:
    wrong = next((k for k in kinds if k != "bool"), None)
    if wrong is not None:
        raise OpFault("dtype-mismatch", f"{wrong} is no condition", help="compare it with something")


def _join(kinds: list[str]) -> str:
    """The dtype in which numbers meet."""
    found = set(kinds)
    if "bool" in found:
        raise OpFault("dtype-mismatch", "a condition is no number", help="`int(...)` counts it as 0 or 1")
    for test in (is_floating, is_whole):
        alike = sorted(k for k in found if test(k))
        if len(alike) > 1:
            raise OpFault(
                "dtype-mismatch", f"{' and '.join(alike)} meet", help="put a `cast` before one of them"
            )
    floating = next((k for k in found if is_floating(k)), None)
    whole = next((k for k in found if is_whole(k)), None)
    if floating is not None:
        return floating
    if whole is not None:
        return "float32" if FRACTION in found else whole
    return FRACTION if FRACTION in found else WHOLE


def _fractional(kind: str) -> str:
    return kind if is_floating(kind) else "float32"


def _tensor(kind: str) -> str:
    """Literals chosen by a tensor make a tensor."""
    return {WHOLE: "int", FRACTION: "float32"}.get(kind, kind)
