"""Elementwise ops: the expression grammar on tensors, activations, sums and products."""

from __future__ import annotations

from compiler.ir.dims import Dim, dim
from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, PortDecl, Typing, per_element
from compiler.ir.types import TensorType
from compiler.ir.values import Residual, Value
from compiler.ops.patterns import Axes, Pattern, broadcast, common_dtype, parse_pattern
from compiler.syntax.expr import Binary, Call, IfElse, Name, Unary
from compiler.syntax.types import DTYPES

ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu", "relu", "silu", "sigmoid", "tanh")
_TRUE_FLOAT = {"log", "exp", "sqrt", "sin", "cos", "tanh", "sigmoid"}
_COMPARE = {"==", "!=", "<", "<=", ">", ">="}


def map_sides(call: OpCall) -> Pattern | None:
    """The pattern of a `map`, its sides in the order of the inputs; None aligns from the right."""
    text = call.attrs["pattern"]
    if text is None:
        return None
    pattern = parse_pattern(str(text))
    if len(pattern.inputs) != len(call.inputs):
        raise OpFault(
            "bad-pattern",
            f"`{text}` has {len(pattern.inputs)} inputs, the node {len(call.inputs)}",
            attr="pattern",
        )
    return pattern


def _map(call: OpCall) -> Typing:
    pattern = map_sides(call)
    if pattern is None:
        shape = broadcast(list(call.inputs.values()), list(call.inputs)) if call.inputs else ()
    else:
        shape = _aligned(call, pattern)
    common_dtype(list(call.inputs.values()), list(call.inputs))
    dtype = map_dtype(call.attrs["expr"], call.inputs)
    return Typing({"y": TensorType(dtype, shape)})


def _aligned(call: OpCall, pattern: Pattern) -> tuple[Dim, ...]:
    text = str(call.attrs["pattern"])
    axes = Axes(call.axes, {}, {})
    for side, (port, found) in zip(pattern.inputs, call.inputs.items(), strict=True):
        axes.bind(side, found, port, text)
    names = {g.name for side in pattern.inputs for g in side}
    for group in pattern.output:
        if group.names and group.name not in names:
            raise OpFault(
                "bad-pattern", f"the output axis `{group.name}` of `{text}` is in no input", attr="pattern"
            )
    for side in pattern.inputs:
        order = [g.name for g in pattern.output if g.name in {h.name for h in side}]
        if order != [g.name for g in side if g.name]:
            raise OpFault(
                "bad-pattern",
                f"`{text}` reorders or drops axes",
                attr="pattern",
                help="use `rearrange` or `reduce` first",
            )
    return axes.shape(pattern.output, text)


def map_dtype(value: Value, inputs: dict[str, TensorType] | object) -> str:
    """The dtype of an expression on tensors: true division and the transcendentals are float."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case Residual(expr=Name(name=name)):
            found = inputs[name].dtype  # type: ignore[index]
            assert isinstance(found, str)
            return found
        case Residual(expr=expr, args=args):
            return _compound_dtype(expr, [map_dtype(a, inputs) for a in args])
        case _:
            return "weak"


def _compound_dtype(expr: object, parts: list[str]) -> str:
    match expr:
        case Binary(op=op) if op in _COMPARE or op in ("and", "or"):
            return "bool"
        case Unary(op="not"):
            return "bool"
        case Call(name="int" | "floor" | "ceil" as name):
            return "int" if name == "int" else _joined(parts)
        case IfElse():
            return _joined(parts[1:])
        case Binary(op="/"):
            return _as_float(_joined(parts))
        case Call(name=name) if name in _TRUE_FLOAT:
            return _as_float(_joined(parts))
        case _:
            return _joined(parts)


def _joined(parts: list[str]) -> str:
    """weak floats (literals) follow the tensors they meet; alone with whole numbers they make float32."""
    kinds = set(parts)
    floats = [k for k in parts if k.startswith(("float", "bfloat"))]
    if floats:
        return floats[0]
    if "weak" in kinds:
        return "float32" if kinds - {"weak"} else "weak"
    return "int" if "int" in kinds else parts[0]


def _as_float(kind: str) -> str:
    return "float32" if kind in ("int", "bool") else kind


def _activation(call: OpCall) -> Typing:
    return Typing({"y": call.inputs["x"]})


def _elementwise(call: OpCall) -> Typing:
    types = list(call.lists["x"])
    ports = ["x"] * len(types)
    return Typing({"y": TensorType(common_dtype(types, ports), broadcast(types, ports))})


def _softmax(call: OpCall) -> Typing:
    x = call.inputs["x"]
    axis = call.attrs["axis"]
    if not isinstance(axis, int) or not -x.rank <= axis < x.rank:
        raise OpFault("bad-dim", f"{x.axes()} has no axis {axis}", attr="axis")
    return Typing({"y": TensorType(str(call.attrs["dtype"] or x.dtype), x.shape)})


def _cast(call: OpCall) -> Typing:
    return Typing({"y": TensorType(str(call.attrs["dtype"]), call.inputs["x"].shape)})


def _pairs(call: OpCall, typing: Typing) -> Dim:
    return typing.outputs["y"].numel * dim(max(1, len(call.lists["x"]) - 1))


MAP = OpDef(
    "map",
    "An expression applied elementwise to named inputs, aligned by the names of their axes.",
    _map,
    inputs=(),
    attrs=(AttrDecl("expr", "expr", required=True), AttrDecl("pattern", "pattern")),
    cost=per_element(1),
    open_inputs=True,
)
ACTIVATION = OpDef(
    "activation",
    "A nonlinearity applied elementwise.",
    _activation,
    attrs=(AttrDecl("fn", "str", required=True, choices=ACTIVATIONS),),
    cost=per_element(8),
    positionwise=True,
)
ADD = OpDef(
    "add",
    "The sum of tensors, aligned from the right.",
    _elementwise,
    (PortDecl("x", variadic=True),),
    cost=_pairs,
)
MUL = OpDef(
    "mul",
    "The product of tensors, aligned from the right.",
    _elementwise,
    (PortDecl("x", variadic=True),),
    cost=_pairs,
)
SOFTMAX = OpDef(
    "softmax",
    "exp(x) normalised to sum to one along an axis.",
    _softmax,
    attrs=(AttrDecl("axis", "int", -1), AttrDecl("dtype", "str", choices=("float32",))),
    cost=per_element(5),
)
CAST = OpDef(
    "cast",
    "The same numbers in another dtype.",
    _cast,
    attrs=(AttrDecl("dtype", "str", required=True, choices=DTYPES),),
    positionwise=True,
)
