"""Ops that rank, count, draw and route."""

from __future__ import annotations

from compiler.ir.dims import Dim, dim
from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, PortDecl, Typing, Weight
from compiler.ir.types import TensorType
from compiler.ops.axes import axis_of
from compiler.ops.patterns import need_float
from compiler.ops.sources import sizes


def _argsort(call: OpCall) -> Typing:
    x = call.inputs["x"]
    axis_of(call, x)
    return Typing({"y": TensorType("int", x.shape)})


def _topk(call: OpCall) -> Typing:
    x, k = call.inputs["x"], call.size("k")
    axis = axis_of(call, x)
    size = x.shape[axis].constant
    if x.dtype == "bool" or k.constant is None:
        raise OpFault("bad-value", f"a fixed number of the largest numbers, not {k} of {x}", attr="k")
    if size is not None and k.constant > size:
        raise OpFault("bad-dim", f"the {k} largest of {size}", attr="k")
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return Typing({"value": TensorType(x.dtype, shape), "index": TensorType("int", shape)})


def _random(call: OpCall) -> Typing:
    like = call.inputs["like"]
    if not like.is_float:
        raise OpFault("dtype-mismatch", f"random numbers are floats, like {like} they are none", port="like")
    return Typing({"y": TensorType(like.dtype, sizes(call, "shape"))})


def _grouped_linear(call: OpCall) -> Typing:
    x, count = call.inputs["x"], call.inputs["count"]
    groups, out = call.size("num"), call.size("out")
    need_float(x, "a linear map", weighted=True)
    if x.rank != 2 or count.rank != 1 or count.dtype != "int":
        raise OpFault(
            "shape-mismatch", f"needs rows [R, I] and a count per group, found {x} and {count}", port="x"
        )
    if count.shape[0] != groups:
        raise OpFault(
            "shape-mismatch", f"there are {groups} groups and {count.shape[0]} counts", port="count"
        )
    if x.shape[1].constant is None:
        raise OpFault("bad-dim", f"the last axis of {x.axes()} must have a fixed size", port="x")
    weights = [Weight("weight", (groups, out, x.shape[1]), "linear")]
    if call.attrs["bias"]:
        weights.append(Weight("bias", (groups, out), "zeros"))
    return Typing({"y": TensorType(x.dtype, (x.shape[0], out))}, tuple(weights))


def _grouped_cost(call: OpCall, typing: Typing) -> Dim:
    return dim(2) * typing.outputs["y"].numel * call.inputs["x"].shape[1]


_AXIS = AttrDecl("axis", "int", -1)

ARGSORT = OpDef(
    "argsort", "The indices that sort along an axis, equal values in their order.", _argsort, attrs=(_AXIS,)
)
TOPK = OpDef(
    "topk",
    "The k largest values along an axis, largest first, and their indices.",
    _topk,
    attrs=(AttrDecl("k", "size", required=True), _AXIS),
    outputs=("value", "index"),
)
RANDOM = OpDef(
    "random",
    "Random numbers of the dtype and on the device of `like`: uniform in [0, 1) or standard normal.",
    _random,
    inputs=(PortDecl("like"),),
    attrs=(
        AttrDecl("shape", "sizes", required=True),
        AttrDecl("dist", "str", "uniform", choices=("uniform", "normal")),
    ),
)
GROUPED_LINEAR = OpDef(
    "grouped_linear",
    "Rows sorted by group, each group through its own linear map; `count` says how many rows a group has.",
    _grouped_linear,
    inputs=(PortDecl("x"), PortDecl("count")),
    attrs=(
        AttrDecl("num", "size", required=True),
        AttrDecl("out", "size", required=True),
        AttrDecl("bias", "bool", False),
    ),
    cost=_grouped_cost,
)
