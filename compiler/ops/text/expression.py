"""`map`: the expression grammar as tensor text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from compiler.ir.code import ATOM, LOOSE, PRODUCT, SUM, Code, Lit, code, join, size_piece, tight
from compiler.ir.dims import Dim, symbol
from compiler.ir.values import Residual, Value
from compiler.ops.kinds import (
    FRACTION,
    TRANSCENDENTAL,
    is_floating,
    is_whole,
    kind_of,
    read_names,
    whole_power,
)
from compiler.ops.pointwise import map_sides
from compiler.ops.text.axes import align, placed, squeeze
from compiler.ops.text.context import Context, Text
from compiler.syntax.expr import Binary, Call, IfElse, Name, Unary

_BINDS = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT}


def map_text(c: Context) -> Text:
    """The expression over inputs whose axes have been put in place."""
    pattern = map_sides(c.call)
    operands = {port: Code((c.var(port, ATOM),)) for port in c.typed.node.inputs}
    if pattern is not None:
        target = [g.name for g in pattern.output]
        leads = bool(target) and not target[0]  # a unit axis in front, which no broadcast makes
        for port, side in zip(operands, pattern.inputs, strict=True):
            names = [g.name for g in side if g.name]
            index = placed(names, target) if leads else align(names, target)
            operands[port] = code("{x}" + index, x=squeeze(operands[port], side))
    return Text({"y": _Writer(c, operands).write(c.attr("expr"))})


@dataclass(frozen=True)
class _Writer:
    """Writes expressions that the shape rule has accepted."""

    context: Context
    operands: Mapping[str, Code]

    def write(self, value: Value) -> Code:
        if not isinstance(value, Residual):
            return self._number(value)
        match value.expr:
            case Name(name=name):
                return self.operands[name]
            case Unary(op=op):
                inner = tight(self.write(value.args[0]), ATOM)
                return code("~{x}" if op == "not" else "-{x}", PRODUCT, x=inner)
            case Binary(op="**"):
                return self._power(value.args)
            case Binary(op=op):
                return self._binary(op, value.args)
            case IfElse():
                return self._choice(value.args)
            case Call(name=name):
                return self._call(name, value.args)
            case _:
                raise AssertionError(value)

    def _number(self, value: Value) -> Code:
        if isinstance(value, Dim):
            several = len(value.terms) > 1  # these stand in parentheses
            lone = value.constant is None and value == symbol(min(value.symbols))
            return Code((size_piece(value, "size"),), ATOM if lone or several else PRODUCT)
        if isinstance(value, Fraction):
            value = float(value)
        return Code((Lit(value, "value"),), ATOM if isinstance(value, bool) or value >= 0 else PRODUCT)

    def _operands(self, args: tuple[Value, ...], *, fractional: bool = False) -> list[Code]:
        """Numbers that meet. Whole-number tensors become float32 if no other decides the dtype."""
        kinds = [kind_of(a, self.context.call.inputs) for a in args]
        converts = (fractional or FRACTION in kinds) and not any(is_floating(k) for k in kinds)
        texts = [self.write(a) for a in args]
        return [
            code("{x}.float()", x=tight(text, ATOM)) if converts and is_whole(kind) else text
            for text, kind in zip(texts, kinds, strict=True)
        ]

    def _binary(self, op: str, args: tuple[Value, ...]) -> Code:
        binds = _BINDS.get(op)
        if binds is not None:
            left, right = self._operands(args, fractional=op == "/")
            return code("{a} " + op + " {b}", binds, a=tight(left, binds), b=tight(right, binds + 1))
        least = ATOM if op in ("and", "or") else SUM
        left, right = (tight(self.write(a), least) for a in args)
        word = {"and": "&", "or": "|"}.get(op, op)
        return code("{a} " + word + " {b}", LOOSE, a=left, b=right)

    def _power(self, args: tuple[Value, ...]) -> Code:
        whole = whole_power(kind_of(args[0], self.context.call.inputs), args[1])
        left, right = self._operands(args, fractional=not whole)
        return code("{a} ** {b}", PRODUCT, a=tight(left, ATOM), b=tight(right, ATOM))

    def _choice(self, args: tuple[Value, ...]) -> Code:
        then, other = self._operands(args[1:])
        text = code("torch.where({t}, {a}, {b})", t=self.write(args[0]), a=then, b=other)
        kinds = {kind_of(a, self.context.call.inputs) for a in args[1:]}
        literals = not any(read_names(a) for a in args[1:])
        return code("{x}.float()", x=text) if literals and FRACTION in kinds else text

    def _call(self, name: str, args: tuple[Value, ...]) -> Code:
        if name in ("min", "max"):
            return self._extremum(name, args)
        if name == "clamp":
            return self._clamp(args)
        (x,) = self._operands(args, fractional=name in TRANSCENDENTAL)
        return code("{x}." + {"int": "long"}.get(name, name) + "()", x=tight(x, ATOM))

    def _clamp(self, args: tuple[Value, ...]) -> Code:
        x, low, high = args
        if read_names(low) or read_names(high):
            return self._extremum("min", (Residual(Call("max", ()), (x, low)), high))
        number, *bounds = self._operands(args)
        return code("{x}.clamp({a}, {b})", x=tight(number, ATOM), a=bounds[0], b=bounds[1])

    def _extremum(self, name: str, args: tuple[Value, ...]) -> Code:
        """Tensors pairwise, then the numbers as bounds."""
        texts = self._operands(args)
        tensors = [t for t, a in zip(texts, args, strict=True) if read_names(a)]
        numbers = [t for t, a in zip(texts, args, strict=True) if not read_names(a)]
        if not tensors:
            return code(name + "({x})", x=join(numbers, ", "))
        text, *others = tensors
        for other in others:
            text = code("torch." + name + "imum({a}, {b})", a=text, b=other)
        for number in numbers:
            word = "max" if name == "min" else "min"
            text = code("{x}.clamp(" + word + "={b})", x=tight(text, ATOM), b=number)
        return text
