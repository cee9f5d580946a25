"""Losses, and what shapes their targets."""

from __future__ import annotations

from compiler.ir.dims import Dim, Proof, dim
from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, PortDecl, Typing
from compiler.ir.types import TensorType
from compiler.ops.axes import axis_of


def _cross_entropy(call: OpCall) -> Typing:
    x, labels = call.inputs["x"], call.inputs["labels"]
    if not x.is_float or labels.dtype != "int" or labels.rank != x.rank - 1:
        raise OpFault(
            "shape-mismatch", f"needs scores [..., V] and labels [...], found {x} and {labels}", port="labels"
        )
    for a, b in zip(x.shape, labels.shape, strict=False):
        if a.compare(b) is not Proof.PROVED:
            raise OpFault(
                "shape-mismatch", f"the scores are {x.axes()}, the labels {labels.axes()}", port="labels"
            )
    return Typing({"y": TensorType(x.dtype, ())})


def _cross_entropy_cost(call: OpCall, typing: Typing) -> Dim:
    return dim(5) * call.inputs["x"].numel


def _pad(call: OpCall) -> Typing:
    x = call.inputs["x"]
    axis = axis_of(call, x)
    before, after = call.attrs["before"], call.attrs["after"]
    if not isinstance(before, int) or not isinstance(after, int):
        raise OpFault("bad-dim", "`before` and `after` are whole numbers", attr="before")
    size = x.shape[axis] + dim(before + after)
    if size.constant is not None and size.constant <= 0:
        raise OpFault("bad-dim", f"nothing is left of an axis of {x.shape[axis]}", attr="after")
    return Typing({"y": TensorType(x.dtype, (*x.shape[:axis], size, *x.shape[axis + 1 :]))})


CROSS_ENTROPY = OpDef(
    "cross_entropy",
    "-log softmax(scores)[label], the mean over labels that are not `ignore`.",
    _cross_entropy,
    inputs=(PortDecl("x"), PortDecl("labels")),
    attrs=(AttrDecl("ignore", "int", -100), AttrDecl("smoothing", "float", 0.0)),
    cost=_cross_entropy_cost,
)
PAD = OpDef(
    "pad",
    "A constant put before and after the entries of an axis; a negative number takes entries away.",
    _pad,
    attrs=(
        AttrDecl("axis", "int", required=True),
        AttrDecl("before", "int", 0),
        AttrDecl("after", "int", 0),
        AttrDecl("value", "float", 0),
    ),
)
