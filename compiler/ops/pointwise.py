"""Elementwise ops: the expression grammar on tensors, activations, sums and products."""

from __future__ import annotations

from compiler.ir.dims import Dim, dim
from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, PortDecl, Typing, per_element
from compiler.ir.types import TensorType
from compiler.ir.values import spell
from compiler.ops.kinds import dtype_of, read_names
from compiler.ops.masks import need_keeps
from compiler.ops.patterns import Axes, Pattern, broadcast, common_dtype, need_float, parse_pattern, plain
from compiler.syntax.types import DTYPES

ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu", "relu", "leaky_relu", "silu", "sigmoid", "tanh")


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
    expr, pattern = call.attrs["expr"], map_sides(call)
    read = read_names(expr)
    if not read:
        raise OpFault(
            "expr-value", f"`{spell(expr)}` reads no input", attr="expr", help="a constant needs no `map`"
        )
    dtype = dtype_of(expr, call.inputs)
    if pattern is None:
        used = {port: found for port, found in call.inputs.items() if port in read}
        return Typing({"y": TensorType(dtype, broadcast(list(used.values()), list(used)))})
    return Typing({"y": TensorType(dtype, _aligned(call, pattern, read))})


def _aligned(call: OpCall, pattern: Pattern, read: frozenset[str]) -> tuple[Dim, ...]:
    text = str(call.attrs["pattern"])
    plain(pattern, text, units=True)
    axes = Axes(call.axes, {}, {})
    for side, (port, found) in zip(pattern.inputs, call.inputs.items(), strict=True):
        axes.bind(side, found, port, text)
    sides = [side for side, port in zip(pattern.inputs, call.inputs, strict=True) if port in read]
    out = [g.name for g in pattern.output if g.name]
    for name in out:
        if not any(name == g.name for side in sides for g in side) or out.count(name) > 1:
            problem = "stands twice" if out.count(name) > 1 else "is in no input that the expression reads"
            raise OpFault("bad-pattern", f"the output axis `{name}` of `{text}` {problem}", attr="pattern")
    for side in sides:
        names = [g.name for g in side if g.name]
        if [n for n in out if n in names] != names:
            raise OpFault(
                "bad-pattern", f"`{text}` reorders or drops axes", attr="pattern",
                help="use `rearrange` or `reduce` first",
            )  # fmt: skip
    return axes.shape(pattern.output, text)


def _activation(call: OpCall) -> Typing:
    need_float(call.inputs["x"], "an activation")
    return Typing({"y": call.inputs["x"]})


def _elementwise(call: OpCall) -> Typing:
    types = list(call.lists["x"])
    ports = [f"x[{k}]" for k in range(len(types))]
    return Typing({"y": TensorType(common_dtype(types, ports), broadcast(types, ports))})


def _softmax(call: OpCall) -> Typing:
    x = call.inputs["x"]
    axis = call.attrs["axis"]
    need_float(x, "a softmax")
    if not isinstance(axis, int) or not -x.rank <= axis < x.rank:
        raise OpFault("bad-dim", f"{x.axes()} has no axis {axis}", attr="axis")
    if "mask" in call.inputs:
        need_keeps(call.inputs["mask"], x)
    return Typing({"y": TensorType(str(call.attrs["dtype"] or x.dtype), x.shape)})


def _cast(call: OpCall) -> Typing:
    like, dtype = call.inputs.get("like"), call.attrs["dtype"]
    if (like is None) == (dtype is None):
        raise OpFault(
            "bad-value", "a cast has either a `dtype` or a value `like`, whose dtype it takes", attr="dtype"
        )
    return Typing({"y": TensorType(like.dtype if like is not None else str(dtype), call.inputs["x"].shape)})


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
    positionwise=True,
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
    positionwise=True,
)
MUL = OpDef(
    "mul",
    "The product of tensors, aligned from the right.",
    _elementwise,
    (PortDecl("x", variadic=True),),
    cost=_pairs,
    positionwise=True,
)
SOFTMAX = OpDef(
    "softmax",
    "exp(x) normalised to sum to one along an axis, over what the mask keeps; where it keeps nothing, zeros.",
    _softmax,
    inputs=(PortDecl("x"), PortDecl("mask", optional=True)),
    attrs=(AttrDecl("axis", "int", -1), AttrDecl("dtype", "str", choices=("float32",))),
    cost=per_element(5),
)
CAST = OpDef(
    "cast",
    "The same numbers in another dtype: a fixed one, or that of the value `like`.",
    _cast,
    inputs=(PortDecl("x"), PortDecl("like", optional=True)),
    attrs=(AttrDecl("dtype", "str", choices=tuple(d for d in DTYPES if d != "float")),),
    positionwise=True,
)
