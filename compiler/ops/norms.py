"""Normalisations over the last axis."""

from __future__ import annotations

from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, Typing, Weight, per_element
from compiler.ir.types import TensorType
from compiler.ops.patterns import need_float


def _last(call: OpCall) -> TensorType:
    x = call.inputs["x"]
    need_float(x, "a norm", weighted=bool(call.attrs["affine"]))
    if x.rank == 0 or x.shape[-1].constant is None:
        raise OpFault(
            "shape-mismatch", f"a norm needs axes [..., D] with a fixed D, found {x.axes()}", port="x"
        )
    return x


def _layer_norm(call: OpCall) -> Typing:
    x = _last(call)
    weights: list[Weight] = []
    if call.attrs["affine"]:
        weights.append(Weight("weight", x.shape[-1:], "ones"))
        if call.attrs["bias"]:
            weights.append(Weight("bias", x.shape[-1:], "zeros"))
    return Typing({"y": x}, tuple(weights))


def _rms_norm(call: OpCall) -> Typing:
    x = _last(call)
    if not call.attrs["affine"]:
        if call.attrs["offset"]:
            raise OpFault(
                "bad-value",
                "an offset is added to the weight, which `affine: false` leaves out",
                attr="offset",
            )
        return Typing({"y": x})
    start = "zeros" if call.attrs["offset"] == 1 else "ones"
    return Typing({"y": x}, (Weight("weight", x.shape[-1:], start),))


LAYER_NORM = OpDef(
    "layer_norm",
    "(x - mean) / sqrt(var + eps) * weight + bias (Ba et al. 2016).",
    _layer_norm,
    attrs=(AttrDecl("eps", "float", 1e-5), AttrDecl("affine", "bool", True), AttrDecl("bias", "bool", True)),
    cost=per_element(8),
    positionwise=True,
)
RMS_NORM = OpDef(
    "rms_norm",
    "x / sqrt(mean(x^2) + eps) * (offset + weight) (Zhang and Sennrich 2019).",
    _rms_norm,
    attrs=(
        AttrDecl("eps", "float", 1e-6),
        AttrDecl("affine", "bool", True),
        AttrDecl("offset", "float", 0.0),
    ),
    cost=per_element(6),
    positionwise=True,
)
