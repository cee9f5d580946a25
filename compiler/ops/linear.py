"""Maps with weights, and products of tensors."""

from __future__ import annotations

from compiler.ir.dims import Dim, dim, product
from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, PortDecl, Typing, Weight
from compiler.ir.types import TensorType
from compiler.ir.values import Value, spell
from compiler.ops.patterns import Axes, need_float, parse_pattern, plain


def _linear(call: OpCall) -> Typing:
    x = call.inputs["x"]
    need_float(x, "a linear map", weighted=True)
    if x.rank == 0:
        raise OpFault("shape-mismatch", f"a linear map needs axes [..., I], found {x.axes()}", port="x")
    width, out = x.shape[-1], call.size("out")
    if width.constant is None:
        raise OpFault("bad-dim", f"the last axis of {x.axes()} must have a fixed size", port="x")
    weights = [Weight("weight", (out, width), "linear")]
    if call.attrs["bias"]:
        weights.append(Weight("bias", (out,), "zeros"))
    return Typing({"y": TensorType(x.dtype, (*x.shape[:-1], out))}, tuple(weights))


def _lora_linear(call: OpCall) -> Typing:
    """A linear map's weights, and a [rank, I] and [O, rank] beside them."""
    plain = _linear(call)
    weight = plain.weights[0]
    rank = call.size("rank")
    low = (
        Weight("lora_a", (rank, weight.shape[1]), "linear"),
        Weight("lora_b", (weight.shape[0], rank), "zeros"),
    )
    return Typing(plain.outputs, (*plain.weights, *low))


def _lora_cost(call: OpCall, typing: Typing) -> Dim:
    low = dim(2) * call.size("rank") * (call.inputs["x"].numel + typing.outputs["y"].numel)
    return _linear_cost(call, typing) + low


def _linear_cost(call: OpCall, typing: Typing) -> Dim:
    return dim(2) * typing.outputs["y"].numel * call.inputs["x"].shape[-1]


def spatial(value: Value, rank: int, attr: str, least: int) -> tuple[int, ...]:
    """A size per spatial axis, from one number or a list."""
    given = value if isinstance(value, tuple) else (value,) * rank
    sizes = tuple(v for v in given if isinstance(v, int) and not isinstance(v, bool) and v >= least)
    if len(given) != rank or len(sizes) != rank:
        wanted = f"a whole number from {least} or {rank} of them"
        raise OpFault("bad-dim", f"`{attr}` must be {wanted}, not `{spell(value)}`", attr=attr)
    return sizes


def _conv(call: OpCall) -> Typing:
    x = call.inputs["x"]
    need_float(x, "a convolution", weighted=True)
    rank = x.rank - 2
    if not 1 <= rank <= 3:
        raise OpFault(
            "shape-mismatch", f"a convolution needs [B, C, 1 to 3 axes], found {x.axes()}", port="x"
        )
    kernel = spatial(call.attrs["kernel"], rank, "kernel", 1)
    stride = spatial(call.attrs["stride"], rank, "stride", 1)
    padding = spatial(call.attrs["padding"], rank, "padding", 0)
    channels, out, groups = x.shape[1], call.size("out"), call.size("groups")
    per_group = channels.exact_div(groups)
    if per_group is None or out.exact_div(groups) is None:
        raise OpFault(
            "shape-mismatch",
            f"{channels} and {out} channels are not divisible by {groups} groups",
            attr="groups",
        )
    axes: list[Dim] = []
    for size, k, s, p in zip(x.shape[2:], kernel, stride, padding, strict=True):
        span = size + dim(2 * p - k)
        if span.constant is not None and span.constant < 0:
            raise OpFault(
                "shape-mismatch", f"the kernel {k} is larger than the axis of {size}", attr="kernel"
            )
        axes.append(span.floor_div(dim(s)) + dim(1))
    weights = [Weight("weight", (out, per_group, *map(dim, kernel)), "linear")]
    if call.attrs["bias"]:
        weights.append(Weight("bias", (out,), "zeros"))
    return Typing({"y": TensorType(x.dtype, (x.shape[0], out, *axes))}, tuple(weights))


def _conv_cost(call: OpCall, typing: Typing) -> Dim:
    weight = typing.weights[0].shape
    return dim(2) * typing.outputs["y"].numel * product(weight[1:])


def _einsum(call: OpCall) -> Typing:
    text = str(call.attrs["pattern"])
    pattern = parse_pattern(text)
    types = call.lists["x"]
    if len(pattern.inputs) != len(types):
        raise OpFault(
            "bad-pattern", f"`{text}` has {len(pattern.inputs)} inputs, the node {len(types)}", attr="pattern"
        )
    plain(pattern, text)
    axes = Axes(call.axes, {}, {})
    for side, found in zip(pattern.inputs, types, strict=True):
        axes.bind(side, found, "x", text)
    names = {g.name for side in pattern.inputs for g in side}
    lost = [g.name for g in pattern.output if g.name not in names]
    if lost:
        raise OpFault(
            "bad-pattern", f"the output axis `{lost[0]}` of `{text}` is in no input", attr="pattern"
        )
    dtypes = sorted({t.dtype for t in types})
    if len(dtypes) > 1 or dtypes == ["bool"]:
        raise OpFault(
            "dtype-mismatch",
            f"{' and '.join(dtypes)} cannot be multiplied",
            port="x",
            help="put a `cast` before",
        )
    return Typing({"y": TensorType(dtypes[0], axes.shape(pattern.output, text))})


def _einsum_cost(call: OpCall, typing: Typing) -> Dim:
    text = str(call.attrs["pattern"])
    pattern = parse_pattern(text)
    axes = Axes(call.axes, {}, {})
    sizes: dict[str, Dim] = {}
    for side, found in zip(pattern.inputs, call.lists["x"], strict=True):
        axes.bind(side, found, "x", text)
        sizes |= {g.name: s for g, s in zip(side, found.shape, strict=True)}
    return dim(len(call.lists["x"])) * product(sizes.values())


LINEAR = OpDef(
    "linear",
    "x W^T + b over the last axis.",
    _linear,
    attrs=(AttrDecl("out", "size", required=True), AttrDecl("bias", "bool", True)),
    cost=_linear_cost,
    positionwise=True,
)
LORA_LINEAR = OpDef(
    "lora_linear",
    "A linear map with a trained low-rank addition: W x + alpha / rank * B A x (Hu et al. 2021).",
    _lora_linear,
    attrs=(
        *LINEAR.attrs,
        AttrDecl("rank", "size", required=True),
        AttrDecl("alpha", "float", required=True),
        AttrDecl("dropout", "float", 0.0),
    ),
    cost=_lora_cost,
    positionwise=True,
)
CONV = OpDef(
    "conv",
    "A convolution over one to three axes behind [B, C].",
    _conv,
    attrs=(
        AttrDecl("out", "size", required=True),
        AttrDecl("kernel", "sizes", required=True),
        AttrDecl("stride", "sizes", 1),
        AttrDecl("padding", "sizes", 0),
        AttrDecl("groups", "size", 1),
        AttrDecl("bias", "bool", True),
    ),
    cost=_conv_cost,
)
EINSUM = OpDef(
    "einsum",
    "A sum of products over named axes.",
    _einsum,
    inputs=(PortDecl("x", variadic=True),),
    attrs=(AttrDecl("pattern", "pattern", required=True),),
    cost=_einsum_cost,
)
