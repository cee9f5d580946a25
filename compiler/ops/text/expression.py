"""`map`: the expression grammar as tensor text."""

from __future__ import annotations

from fractions import Fraction

from compiler.ir.code import ATOM, LOOSE, PRODUCT, SUM, Code, Lit, Var, code, size_piece, tight
from compiler.ir.dims import Dim
from compiler.ir.graph import Ref
from compiler.ir.opdef import OpFault
from compiler.ir.values import Residual, Value
from compiler.ops.pointwise import map_dtype, map_sides
from compiler.ops.text.axes import align
from compiler.ops.text.context import Context, Text
from compiler.syntax.expr import Binary, Call, IfElse, Name, Unary

_BINDS = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT}
_UNARY_CALLS = {
    "abs": "{x}.abs()", "floor": "{x}.floor()", "ceil": "{x}.ceil()", "int": "{x}.long()", "sign": "{x}.sign()",
    "log": "{x}.log()", "exp": "{x}.exp()", "sqrt": "{x}.sqrt()", "sin": "{x}.sin()", "cos": "{x}.cos()",
    "tanh": "{x}.tanh()", "sigmoid": "{x}.sigmoid()",
}  # fmt: skip


def map_text(c: Context) -> Text:
    pattern = map_sides(c.call)
    indices: dict[str, str] = {}
    if pattern is not None:
        target = [g.name for g in pattern.output]
        for port, side in zip(c.typed.node.inputs, pattern.inputs, strict=True):
            indices[port] = align([g.name for g in side], target)
    return Text({"y": _Writer(c, indices).write(c.attr("expr"))})


class _Writer:
    def __init__(self, context: Context, indices: dict[str, str]) -> None:
        self.context = context
        self.indices = indices

    def write(self, value: Value) -> Code:
        if not isinstance(value, Residual):
            return self.scalar(value)
        match value.expr:
            case Name(name=name):
                ref = self.context.typed.node.inputs[name]
                assert isinstance(ref, Ref)
                index = self.indices.get(name, "")
                return code("{x}" + index, x=Var(ref, ATOM))
            case Unary(op=op):
                inner = tight(self.write(value.args[0]), ATOM)
                return code("~{x}" if op == "not" else "-{x}", PRODUCT, x=inner)
            case Binary():
                return self.binary(value.expr, value.args)
            case IfElse():
                test, then, other = (self.write(a) for a in value.args)
                return code("torch.where({t}, {a}, {b})", t=test, a=then, b=other)
            case Call():
                return self.call(value.expr, value.args)
            case _:
                raise OpFault("expr-value", "lists have no meaning on tensors", attr="expr")

    def scalar(self, value: Value) -> Code:
        if isinstance(value, Dim):
            return Code((size_piece(value, "size"),))
        if isinstance(value, Fraction):
            value = float(value)
        if not isinstance(value, int | float | bool):
            raise OpFault("expr-value", f"`{value}` has no meaning on tensors", attr="expr")
        return Code((Lit(value, "value"),), ATOM if not isinstance(value, bool) and value >= 0 else PRODUCT)

    def is_whole(self, value: Value) -> bool:
        return isinstance(value, Residual) and map_dtype(value, self.context.call.inputs) in ("int", "int32")

    def floating(self, value: Value) -> Code:
        """An operand of true division or a transcendental: whole-number tensors become float32."""
        text = self.write(value)
        return code("{x}.float()", x=tight(text, ATOM)) if self.is_whole(value) else text

    def binary(self, expr: Binary, args: tuple[Value, ...]) -> Code:
        op = expr.op
        if op in ("and", "or"):
            symbol = "&" if op == "and" else "|"
            left, right = (tight(self.write(a), ATOM) for a in args)
            return code("{a} " + symbol + " {b}", LOOSE, a=left, b=right)
        if op == "**":
            return self.power(args)
        binds = _BINDS.get(op, LOOSE)
        mixes = any(isinstance(a, float | Fraction) for a in args)
        convert = self.floating if op == "/" or (mixes and op in _BINDS) else self.write
        if op == "+" and 0 in [a for a in args if isinstance(a, int) and not isinstance(a, bool)]:
            return self.write(next(a for a in args if isinstance(a, Residual)))
        left = tight(convert(args[0]), binds or SUM)
        right = tight(convert(args[1]), min(binds + 1, ATOM) if binds else SUM)
        return code("{a} " + op + " {b}", binds, a=left, b=right)

    def power(self, args: tuple[Value, ...]) -> Code:
        left, right = (
            tight(self.floating(a) if isinstance(a, Residual) else self.write(a), ATOM) for a in args
        )
        return code("{a} ** {b}", PRODUCT, a=left, b=right)

    def call(self, expr: Call, args: tuple[Value, ...]) -> Code:
        name = expr.name
        if name in ("min", "max"):
            return self.extremum(name, args)
        if name == "clamp":
            x, low, high = (self.write(a) for a in args)
            return code("{x}.clamp({a}, {b})", x=tight(x, ATOM), a=low, b=high)
        if name not in _UNARY_CALLS:
            raise OpFault("expr-value", f"`{name}` has no meaning on tensors", attr="expr")
        keeps = name in ("abs", "sign", "int", "floor", "ceil")
        text = self.write(args[0]) if keeps else self.floating(args[0])
        return code(_UNARY_CALLS[name], x=tight(text, ATOM))

    def extremum(self, name: str, args: tuple[Value, ...]) -> Code:
        tensors = [a for a in args if isinstance(a, Residual)]
        numbers = [a for a in args if not isinstance(a, Residual)]
        text = self.write(tensors[0])
        for other in tensors[1:]:
            fn = "torch.minimum" if name == "min" else "torch.maximum"
            text = code(fn + "({a}, {b})", a=text, b=self.write(other))
        if numbers:
            bound = min(numbers) if name == "min" else max(numbers)
            word = "max" if name == "min" else "min"
            text = code("{x}.clamp(" + word + "={b})", x=tight(text, ATOM), b=self.scalar(bound))
        return text
