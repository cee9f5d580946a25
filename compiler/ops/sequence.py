"""Attention and what it needs: looking up, rotating, remembering; and dropout."""

from __future__ import annotations

from compiler.ir.dims import Dim, dim
from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, PortDecl, Typing, per_element
from compiler.ir.types import TensorType
from compiler.ops.masks import need, need_equal, need_fits
from compiler.ops.patterns import Axes, Pattern, need_float, parse_pattern, plain


def _attention(call: OpCall) -> Typing:
    q, k, v = call.inputs["q"], call.inputs["k"], call.inputs["v"]
    for port, found in (("q", q), ("k", k), ("v", v)):
        need(found.rank == 4, f"`{port}` needs axes [B, heads, T, head_dim], found {found.axes()}", port)
        if not found.is_float or found.dtype != q.dtype:
            raise OpFault("dtype-mismatch", f"`{port}` is {found}, the queries are {q}", port=port)
    need_equal(q.shape[3], k.shape[3], f"queries have head_dim {q.shape[3]}, keys {k.shape[3]}", "k")
    need_equal(k.shape[2], v.shape[2], f"there are {k.shape[2]} keys and {v.shape[2]} values", "v")
    need_equal(k.shape[1], v.shape[1], f"keys have {k.shape[1]} heads, values {v.shape[1]}", "v")
    if q.shape[1].exact_div(k.shape[1]) is None:
        raise OpFault(
            "shape-mismatch", f"{q.shape[1]} query heads cannot share {k.shape[1]} key heads", port="k",
            help="choose a number of key heads that divides the number of query heads",
        )  # fmt: skip
    for name in ("q", "k", "v"):
        need_equal(q.shape[0], call.inputs[name].shape[0], f"`q` and `{name}` differ in the batch axis", name)
    if call.attrs["causal"]:
        keys = call.keys(q.shape[2])
        need_equal(keys, k.shape[2], f"causal attention of {keys} tokens sees {k.shape[2]} keys", "k")
    if "mask" in call.inputs:
        _check_mask(call.inputs["mask"], (*q.shape[:3], k.shape[2]), bool(call.attrs["causal"]))
    if "bias" in call.inputs:
        _check_bias(call.inputs["bias"], (*q.shape[:3], k.shape[2]))
    window = call.attrs["window"]
    if window is not None and (not isinstance(window, int) or window < 1 or not call.attrs["causal"]):
        raise OpFault(
            "bad-value", f"a window is a number of keys of causal attention, not {window}", attr="window"
        )
    return Typing({"y": TensorType(q.dtype, (*q.shape[:3], v.shape[3]))})


def _check_mask(mask: TensorType, scores: tuple[Dim, ...], causal: bool) -> None:
    """A mask says which keys count, for each sequence or for each of the scores [B, heads, T, K]."""
    axes = "bool[B, K]" if causal else "bool[B, K] or bool[B, heads, T, K]"  # causal: the rule joins it
    need(
        mask.rank in ((2,) if causal else (2, 4)) and mask.dtype == "bool",
        f"`mask` is {axes}, found {mask}",
        "mask",
    )
    batch, _, _, keys = scores
    need_fits(mask, (batch, keys) if mask.rank == 2 else scores, "mask")


def _check_bias(bias: TensorType, scores: tuple[Dim, ...]) -> None:
    """A bias is added to the scores [B, heads, T, K]; axes of 1 are repeated."""
    need(bias.rank == 4 and bias.is_float, f"`bias` is float[B, heads, T, K], found {bias}", "bias")
    need_fits(bias, scores, "bias")


def _attention_cost(call: OpCall, typing: Typing) -> Dim:
    q, v = call.inputs["q"], call.inputs["v"]
    scores = q.shape[0] * q.shape[1] * q.shape[2] * v.shape[2]
    return scores * (dim(2) * q.shape[3] + dim(2) * v.shape[3] + dim(5))


def _attention_mask(call: OpCall) -> Typing:
    x, mask = call.inputs.get("x"), call.inputs.get("mask")
    if (x if call.attrs["causal"] else mask) is None:
        raise OpFault("missing-input", "a causal mask needs the queries `x`, any other a `mask`")
    if x is not None:
        need(x.rank > 1, f"`x` needs axes [B, T, ...], found {x.axes()}", "x")
    if mask is not None:
        need(mask.rank == 2 and mask.dtype == "bool", f"`mask` is bool[B, K], found {mask}", "mask")
        batch, keys = mask.shape
    else:
        assert x is not None
        batch, keys = dim(1), call.keys(x.shape[1])
    length = x.shape[1] if x is not None and call.attrs["causal"] else dim(1)
    return Typing({"y": TensorType("bool", (batch, dim(1), length, keys))})


def _rotation(call: OpCall) -> Typing:
    angle, like = call.inputs["angle"], call.inputs["like"]
    need(angle.rank == 3 and angle.is_float, f"`angle` is float[B, T, F], found {angle}", "angle")
    need(like.is_float, f"`like` is what will be rotated, found {like}", "like")
    batch, length, count = angle.shape
    return Typing({"y": TensorType(like.dtype, (dim(2), batch, dim(1), length, dim(2) * count))})


def _rotate(call: OpCall) -> Typing:
    x, angle = call.inputs["x"], call.inputs["angle"]
    if angle.rank == 5:
        return Typing({"y": x})  # prepared by `rotation`, checked there
    need(x.rank == 4, f"`x` needs axes [B, heads, T, head_dim], found {x.axes()}", "x")
    need(angle.rank == 3, f"`angle` needs axes [B, T, F], found {angle.axes()}", "angle")
    need_equal(
        x.shape[2], angle.shape[1], f"there are {x.shape[2]} vectors and {angle.shape[1]} angles", "angle"
    )
    pairs = dim(2) * angle.shape[2]
    need_equal(
        x.shape[3],
        pairs,
        f"{angle.shape[2]} angles rotate {pairs} numbers, head_dim is {x.shape[3]}",
        "angle",
    )
    return Typing({"y": x})


def _cache(call: OpCall) -> Typing:
    axis = call.axes(str(call.attrs["axis"]))
    if axis is None:
        raise OpFault("bad-value", f"`{call.attrs['axis']}` is no axis of this block", attr="axis")
    outputs: dict[str, TensorType] = {}
    for name, found in call.inputs.items():
        if found.dtype != "float":
            raise OpFault(
                "dtype-mismatch",
                f"a cache keeps values of the module's dtype, `{name}` is {found}",
                port=name,
            )
        at = cache_axis(found, axis)
        if at is None or axis in found.shape[at + 1 :]:
            count = "no axis" if at is None else "two axes of the size"
            label = call.attrs["axis"]
            raise OpFault("shape-mismatch", f"`{name}` {found.axes()} has {count} `{label}`", port=name)
        size = call.keys(axis) if call.attrs["mode"] == "append" else axis
        outputs[name] = TensorType(found.dtype, (*found.shape[:at], size, *found.shape[at + 1 :]))
    return Typing(outputs)


def cache_axis(found: TensorType, length: Dim) -> int | None:
    """The axis of a tensor that counts tokens."""
    return next((k for k, size in enumerate(found.shape) if k > 0 and size == length), None)


def gather_sides(call: OpCall) -> tuple[Pattern, int]:
    """The pattern of a gather and the bracketed axis of its first input."""
    text = str(call.attrs["pattern"])
    pattern = parse_pattern(text)
    marked = [k for k, g in enumerate(pattern.inputs[0]) if g.bracketed]
    if len(pattern.inputs) != 2 or len(marked) != 1:
        raise OpFault(
            "bad-pattern", f"`{text}` is written `A [K] D, A -> A D`: two inputs, one bracket", attr="pattern"
        )
    return pattern, marked[0]


def _gather(call: OpCall) -> Typing:
    pattern, axis = gather_sides(call)
    text = str(call.attrs["pattern"])
    x, index = call.inputs["x"], call.inputs["index"]
    if not index.dtype.startswith("int"):
        raise OpFault("dtype-mismatch", f"an index is whole numbers, found {index}", port="index")
    plain(pattern, text, brackets=True)
    axes = Axes(call.axes, {}, {})
    axes.bind(pattern.inputs[0], x, "x", text)
    axes.bind(pattern.inputs[1], index, "index", text)
    source = [g.name for k, g in enumerate(pattern.inputs[0]) if k != axis]
    names = [*source, *(g.name for g in pattern.inputs[1] if g.name not in source)]
    out = [g.name for g in pattern.output]
    if sorted(names) != sorted(out):
        odd = next((n for n in out if n not in names or out.count(n) > 1), "") or next(
            n for n in names if n not in out
        )
        raise OpFault("bad-pattern", f"`{odd}` must stand once in the output of `{text}`", attr="pattern")
    return Typing({"y": TensorType(x.dtype, axes.shape(pattern.output, text))})


def _dropout(call: OpCall) -> Typing:
    p = call.attrs["p"]
    if not isinstance(p, int | float) or not 0 <= p < 1:
        raise OpFault("bad-value", f"a dropout probability lies in [0, 1), not {p}", attr="p")
    need_float(call.inputs["x"], "dropout")
    return Typing({"y": call.inputs["x"]})


ATTENTION = OpDef(
    "attention",
    "softmax(q k^T * scale + mask) v; heads of q share those of k and v (Vaswani et al. 2017, equation 1).",
    _attention,
    inputs=(
        PortDecl("q"),
        PortDecl("k"),
        PortDecl("v"),
        PortDecl("mask", optional=True),
        PortDecl("bias", optional=True),
    ),
    attrs=(
        AttrDecl("causal", "bool", False),
        AttrDecl("window", "int"),
        AttrDecl("scale", "float"),
        AttrDecl("dropout", "float", 0.0),
    ),
    cost=_attention_cost,
)
ATTENTION_MASK = OpDef(
    "attention_mask",
    "The keys that each query may see, made once for all layers: bool[B, 1, T, K]; unless `needed`, it may "
    "be None where attention does without.",
    _attention_mask,
    inputs=(PortDecl("x", optional=True), PortDecl("mask", optional=True)),
    attrs=(AttrDecl("causal", "bool", False), AttrDecl("window", "int"), AttrDecl("needed", "bool", True)),
)
ROTATION = OpDef(
    "rotation",
    "Cosines and sines of angles, made once for all layers.",
    _rotation,
    inputs=(PortDecl("angle"), PortDecl("like")),
    attrs=(AttrDecl("style", "str", "half", choices=("half", "interleaved")),),
)
ROTATE = OpDef(
    "rotate",
    "Pairs of numbers turned by angles: (i, i + F) in style half, (2i, 2i + 1) interleaved (Su et al. 2021).",
    _rotate,
    inputs=(PortDecl("x"), PortDecl("angle")),
    attrs=(AttrDecl("style", "str", "half", choices=("half", "interleaved")),),
    cost=per_element(6),
)
CACHE = OpDef(
    "cache",
    "append: earlier tokens' tensors put before the new ones; once: computed at the first call and kept.",
    _cache,
    inputs=(),
    attrs=(
        AttrDecl("axis", "str", required=True),
        AttrDecl("mode", "str", "append", choices=("append", "once")),
    ),
    outputs=None,
    open_inputs=True,
)
GATHER = OpDef(
    "gather",
    "Entries looked up along the bracketed axis: `C [T] D, C -> C D`.",
    _gather,
    inputs=(PortDecl("x"), PortDecl("index")),
    attrs=(AttrDecl("pattern", "pattern", required=True),),
)
DROPOUT = OpDef(
    "dropout",
    "Elements zeroed with probability p in training (Srivastava et al. 2014).",
    _dropout,
    attrs=(AttrDecl("p", "float", 0.0),),
    positionwise=True,
    identity_when={"p": 0},
)
