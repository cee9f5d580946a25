"""Values that come from nothing, from a table, or from the place of a token."""

from __future__ import annotations

from compiler.ir.dims import Dim, dim
from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, PortDecl, Typing, Weight
from compiler.ir.types import TensorType
from compiler.ops.masks import need_mask


def sizes(call: OpCall, attr: str) -> tuple[Dim, ...]:
    """An attribute that lists sizes."""
    value = call.attrs[attr]
    if not isinstance(value, tuple):
        raise OpFault("wrong-type", f"`{attr}` is a list of sizes", attr=attr)
    out: list[Dim] = []
    for size in value:
        if isinstance(size, int) and not isinstance(size, bool) and size > 0:
            out.append(dim(size))
        elif isinstance(size, Dim):
            out.append(size)
        else:
            raise OpFault("bad-dim", f"`{attr}` holds `{size}`, which is no positive whole number", attr=attr)
    return tuple(out)


def _parameter(call: OpCall) -> Typing:
    shape = sizes(call, "shape")
    if any(s.constant is None for s in shape):
        raise OpFault("bad-dim", "a parameter's shape cannot depend on the input", attr="shape")
    trainable = call.attrs["trainable"] is not False
    weight = Weight("", shape, call.attrs["init"], trainable, str(call.attrs["dtype"]))
    return Typing({"y": TensorType(str(call.attrs["dtype"]), shape)}, (weight,))


def _iota(call: OpCall) -> Typing:
    return Typing({"y": TensorType("int", (call.size("size"),))})


def _positions(call: OpCall) -> Typing:
    x = call.inputs["x"]
    if x.rank < 2:
        raise OpFault("shape-mismatch", f"positions need axes [B, T, ...], found {x.axes()}", port="x")
    batch, length = x.shape[:2]
    if "mask" in call.inputs:
        need_mask(call.inputs["mask"], batch, call.keys(length))
    outputs = {
        "q": TensorType("int", (batch, length)),
        "t": TensorType("int", (length,)),
        "k": TensorType("int", (call.keys(length),)),
    }
    return Typing(outputs)


def _embedding(call: OpCall) -> Typing:
    ids = call.inputs["ids"]
    if not ids.dtype.startswith("int"):
        raise OpFault("dtype-mismatch", f"an embedding looks up whole numbers, found {ids}", port="ids")
    width = call.size("dim")
    weight = Weight("weight", (call.size("num"), width), "normal")
    return Typing({"y": TensorType("float", (*ids.shape, width))}, (weight,))


PARAMETER = OpDef(
    "parameter",
    "A learnable tensor.",
    _parameter,
    inputs=(),
    attrs=(
        AttrDecl("shape", "sizes", required=True),
        AttrDecl("init", "init", "zeros"),
        AttrDecl("trainable", "bool", True),
        AttrDecl("dtype", "str", "float", choices=("float", "float32")),
    ),
)
IOTA = OpDef(
    "iota",
    "The whole numbers from `start`, `size` of them.",
    _iota,
    inputs=(),
    attrs=(AttrDecl("size", "size", required=True), AttrDecl("start", "int", 0)),
)
POSITIONS = OpDef(
    "positions",
    "The place of each token: q int[B, T] skips padding and counts the cache, t and k are the slots of "
    "queries and keys.",
    _positions,
    inputs=(PortDecl("x"), PortDecl("mask", optional=True)),
    outputs=("q", "t", "k"),
)
EMBEDDING = OpDef(
    "embedding",
    "A table of `num` vectors of width `dim`, looked up by whole numbers.",
    _embedding,
    inputs=(PortDecl("ids"),),
    attrs=(AttrDecl("num", "size", required=True), AttrDecl("dim", "size", required=True)),
    positionwise=True,
)
