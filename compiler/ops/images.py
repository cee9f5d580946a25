"""Ops of grids: images and volumes behind [B, C]."""

from __future__ import annotations

from compiler.ir.dims import Dim, dim, product
from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, Typing, Weight, per_element
from compiler.ir.types import TensorType
from compiler.ops.linear import spatial
from compiler.ops.patterns import need_float
from compiler.ops.sources import sizes

#: number of axes -> how they are resized
_MODES = {1: ("nearest", "linear"), 2: ("nearest", "bilinear", "bicubic"), 3: ("nearest", "trilinear")}


def _grid(call: OpCall) -> TensorType:
    x = call.inputs["x"]
    if not 3 <= x.rank <= 5 or not x.is_float:
        raise OpFault("shape-mismatch", f"needs float[B, C, 1 to 3 axes], found {x}", port="x")
    return x


def _conv_transpose(call: OpCall) -> Typing:
    x = _grid(call)
    need_float(x, "a convolution", weighted=True)
    rank = x.rank - 2
    kernel = spatial(call.attrs["kernel"], rank, "kernel", 1)
    stride = spatial(call.attrs["stride"], rank, "stride", 1)
    padding = spatial(call.attrs["padding"], rank, "padding", 0)
    out = call.size("out")
    axes = [
        (size - dim(1)) * dim(s) + dim(k - 2 * p)
        for size, k, s, p in zip(x.shape[2:], kernel, stride, padding, strict=True)
    ]
    if any(size.constant is not None and size.constant < 1 for size in axes):
        raise OpFault("bad-dim", f"the padding leaves nothing of {x.axes()}", attr="padding")
    weights = [Weight("weight", (x.shape[1], out, *map(dim, kernel)), "linear")]
    if call.attrs["bias"]:
        weights.append(Weight("bias", (out,), "zeros"))
    return Typing({"y": TensorType(x.dtype, (x.shape[0], out, *axes))}, tuple(weights))


def _conv_transpose_cost(call: OpCall, typing: Typing) -> Dim:
    return dim(2) * call.inputs["x"].numel * product(typing.weights[0].shape[1:])


def _group_norm(call: OpCall) -> Typing:
    x, groups = _grid(call), call.size("groups")
    need_float(x, "a norm", weighted=bool(call.attrs["affine"]))
    if x.shape[1].exact_div(groups) is None:
        raise OpFault(
            "shape-mismatch", f"{x.shape[1]} channels are not divisible by {groups} groups", attr="groups"
        )
    affine = (Weight("weight", (x.shape[1],), "ones"), Weight("bias", (x.shape[1],), "zeros"))
    return Typing({"y": x}, affine if call.attrs["affine"] else ())


def _interpolate(call: OpCall) -> Typing:
    x, target = _grid(call), sizes(call, "size")
    if len(target) != x.rank - 2:
        raise OpFault(
            "bad-dim", f"{x.axes()} has {x.rank - 2} axes to resize, `size` names {len(target)}", attr="size"
        )
    mode, antialias = str(call.attrs["mode"]), call.attrs["antialias"]
    if mode not in _MODES[len(target)]:
        known = " or ".join(_MODES[len(target)])
        raise OpFault("bad-value", f"{x.axes()} is resized by {known}, not {mode}", attr="mode")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise OpFault("bad-value", f"`{mode}` has no antialiasing", attr="antialias")
    return Typing({"y": TensorType(x.dtype, (*x.shape[:2], *target))})


CONV_TRANSPOSE = OpDef(
    "conv_transpose",
    "The transpose of a convolution over one to three axes behind [B, C].",
    _conv_transpose,
    attrs=(
        AttrDecl("out", "size", required=True),
        AttrDecl("kernel", "sizes", required=True),
        AttrDecl("stride", "sizes", 1),
        AttrDecl("padding", "sizes", 0),
        AttrDecl("bias", "bool", True),
    ),
    cost=_conv_transpose_cost,
)
GROUP_NORM = OpDef(
    "group_norm",
    "Normalised over groups of channels and all of space; of one channel: instance norm (Wu and He 2018).",
    _group_norm,
    attrs=(
        AttrDecl("groups", "size", required=True),
        AttrDecl("eps", "float", 1e-5),
        AttrDecl("affine", "bool", True),
    ),
    cost=per_element(8),
)
INTERPOLATE = OpDef(
    "interpolate",
    "A grid resampled to another size.",
    _interpolate,
    attrs=(
        AttrDecl("size", "sizes", required=True),
        AttrDecl(
            "mode", "str", "bilinear", choices=("nearest", "linear", "bilinear", "bicubic", "trilinear")
        ),
        AttrDecl("antialias", "bool", False),
    ),
    cost=per_element(8),
)
