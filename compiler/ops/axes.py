"""Ops that move, join and reduce axes."""

from __future__ import annotations

from compiler.ir.dims import Dim, Proof, dim, symbol
from compiler.ir.opdef import AttrDecl, OpCall, OpDef, OpFault, PortDecl, Typing, per_element
from compiler.ir.types import TensorType
from compiler.ir.values import Record
from compiler.ops.patterns import Axes, Pattern, Side, common_dtype, parse_pattern

REDUCTIONS = ("sum", "mean", "max", "any", "var", "argmax", "first")


def solve(call: OpCall) -> tuple[Pattern, Axes]:
    """The pattern of a one-input op and the sizes of its names."""
    text = str(call.attrs["pattern"])
    pattern = parse_pattern(text)
    if len(pattern.inputs) != 1:
        raise OpFault(
            "bad-pattern", f"`{text}` has {len(pattern.inputs)} inputs, the node one", attr="pattern"
        )
    if any(g.bracketed for g in (*pattern.inputs[0], *pattern.output)):
        raise OpFault("bad-pattern", f"brackets are `gather`'s, not for `{text}`", attr="pattern")
    axes = Axes(call.axes, {}, {})
    axes.bind(pattern.inputs[0], call.inputs["x"], "x", text)
    return pattern, axes


def flat_names(side: Side) -> list[str]:
    """The names of a side in order, those inside products too."""
    return [n for g in side for n in g.names]


def _names(pattern: Pattern) -> tuple[list[str], list[str]]:
    return flat_names(pattern.inputs[0]), flat_names(pattern.output)


def _rearrange(call: OpCall) -> Typing:
    pattern, axes = solve(call)
    text = str(call.attrs["pattern"])
    left, right = _names(pattern)
    if sorted(left) != sorted(right):
        odd = sorted(set(left) ^ set(right)) or [n for n in right if right.count(n) > 1]
        raise OpFault(
            "bad-pattern", f"`{odd[0]}` must stand once on each side of `{text}`", attr="pattern",
            help="`reduce` removes axes, `expand` adds them",
        )  # fmt: skip
    return Typing({"y": TensorType(call.inputs["x"].dtype, axes.shape(pattern.output, text))})


def _expand(call: OpCall) -> Typing:
    pattern, axes = solve(call)
    text = str(call.attrs["pattern"])
    if any(len(g.names) > 1 for side in (pattern.inputs[0], pattern.output) for g in side):
        raise OpFault(
            "bad-pattern", f"`{text}`: `expand` takes no products of axes", attr="pattern",
            help="split them with `rearrange` before, join them after",
        )  # fmt: skip
    left, right = _names(pattern)
    if [n for n in right if n in left] != left:
        raise OpFault(
            "bad-pattern", f"`{text}` must keep every axis that it has, in order", attr="pattern",
            help="`rearrange` moves axes, `reduce` removes them",
        )  # fmt: skip
    return Typing({"y": TensorType(call.inputs["x"].dtype, axes.shape(pattern.output, text))})


def _reduce(call: OpCall) -> Typing:
    pattern, axes = solve(call)
    text, fn, x = str(call.attrs["pattern"]), str(call.attrs["fn"]), call.inputs["x"]
    left, right = _names(pattern)
    if any(n not in left for n in right) or [n for n in left if n in right] != right:
        raise OpFault("bad-pattern", f"`{text}` must keep the order of the axes it keeps", attr="pattern")
    gone = [n for n in left if n not in right]
    if not gone or (fn in ("argmax", "first") and len(gone) != 1):
        raise OpFault(
            "bad-pattern",
            f"`{fn}` over `{text}` must remove {'one axis' if gone else 'an axis'}",
            attr="pattern",
        )
    return Typing({"y": TensorType(_reduced_dtype(fn, x), axes.shape(pattern.output, text))})


def _reduced_dtype(fn: str, x: TensorType) -> str:
    if fn in ("mean", "var") and not x.is_float:
        raise OpFault(
            "dtype-mismatch", f"`{fn}` is of floats, found {x}", port="x", help="put a `cast` before it"
        )
    if fn == "argmax" and x.dtype == "bool":
        raise OpFault(
            "dtype-mismatch", f"`argmax` compares numbers, found {x}", port="x", help="put a `cast` before it"
        )
    if fn in ("argmax", "any"):
        return "int" if fn == "argmax" else "bool"
    return "int" if fn == "sum" and not x.is_float else x.dtype


def axis_of(call: OpCall, found: TensorType) -> int:
    """The attribute `axis` as an index from the left."""
    axis = call.attrs["axis"]
    if not isinstance(axis, int) or isinstance(axis, bool) or not -found.rank <= axis < found.rank:
        raise OpFault("bad-dim", f"{found.axes()} has no axis {axis}", attr="axis")
    return axis % found.rank


def _concat(call: OpCall) -> Typing:
    types = call.lists["x"]
    axis = axis_of(call, types[0])
    total = dim(0)
    ports = [f"x[{n}]" for n in range(len(types))]
    for port, found in zip(ports, types, strict=True):
        if found.rank != types[0].rank:
            message = f"{types[0].axes()} and {found.axes()} have different ranks"
            raise OpFault("shape-mismatch", message, port=port)
        for k, (a, b) in enumerate(zip(types[0].shape, found.shape, strict=True)):
            proof = a.compare(b)
            if k != axis and proof is not Proof.PROVED:
                code = "shape-mismatch" if proof is Proof.REFUTED else "shape-unknown"
                raise OpFault(code, f"axis {k} is {a} in `x[0]` and {b} in `{port}`", port=port)
        total = total + found.shape[axis]
    shape = (*types[0].shape[:axis], total, *types[0].shape[axis + 1 :])
    return Typing({"y": TensorType(common_dtype(list(types), ports), shape)})


def slice_bounds(call: OpCall) -> tuple[int, int | None]:
    """The start and stop of a slice."""
    start, stop = call.attrs["start"], call.attrs["stop"]
    if not isinstance(start, int) or not (stop is None or isinstance(stop, int)):
        raise OpFault("bad-dim", "`start` and `stop` are whole numbers", attr="start")
    return start, stop


def _bound(place: int | None, size: Dim) -> Dim:
    """Where a bound of a slice falls on an axis: counted from the end if negative, and never outside."""
    if place is None:
        return size
    if place < 0:
        return _positive(size + dim(place))
    if _never_negative(size - dim(place)):
        return dim(place)
    return size if _never_negative(dim(place) - size) else symbol(f"min({size}, {place})")


def _positive(size: Dim) -> Dim:
    """The size, or 0 where that is negative."""
    if _never_negative(size):
        return size
    return dim(0) if _never_negative(-size) else symbol(f"max({size}, 0)")


def _never_negative(size: Dim) -> bool:
    """Whether the polynomial is >= 0 for all sizes; opaque ones may be 0, the others are at least 1."""
    shifted = size.substitute({s: symbol(s) + dim(1) for s in size.symbols if "(" not in s})
    return all(coefficient > 0 for _, coefficient in shifted.terms)


def _slice(call: OpCall) -> Typing:
    x = call.inputs["x"]
    axis = axis_of(call, x)
    start, stop = slice_bounds(call)
    size = x.shape[axis]
    length = _positive(_bound(stop, size) - _bound(start, size))
    crossed = stop is not None and (start < 0) == (stop < 0) and stop <= start
    if length == dim(0) or crossed:
        raise OpFault("bad-dim", f"the slice of an axis of {size} is empty", attr="start")
    return Typing({"y": TensorType(x.dtype, (*x.shape[:axis], length, *x.shape[axis + 1 :]))})


def _split(call: OpCall) -> Typing:
    x, into = call.inputs["x"], call.attrs["into"]
    axis = axis_of(call, x)
    if not isinstance(into, Record) or not into.items:
        raise OpFault(
            "wrong-type", "`into` names the parts and their sizes: {first: 1, rest: =n - 1}", attr="into"
        )
    outputs: dict[str, TensorType] = {}
    total = dim(0)
    for name, value in into.items:
        size = dim(value) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else value
        if not isinstance(size, Dim):
            raise OpFault("bad-dim", f"the part `{name}` has no positive whole size", attr="into")
        outputs[name] = TensorType(x.dtype, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
        total = total + size
    if total.compare(x.shape[axis]) is not Proof.PROVED:
        raise OpFault(
            "shape-mismatch", f"the parts are {total} together, the axis is {x.shape[axis]}", attr="into"
        )
    return Typing(outputs)


_PATTERN = (AttrDecl("pattern", "pattern", required=True),)

REARRANGE = OpDef("rearrange", "The same elements under other axes.", _rearrange, attrs=_PATTERN)
EXPAND = OpDef("expand", "Axes added or widened by repetition.", _expand, attrs=_PATTERN)
REDUCE = OpDef(
    "reduce",
    "Axes removed by a reduction.",
    _reduce,
    attrs=(*_PATTERN, AttrDecl("fn", "str", required=True, choices=REDUCTIONS)),
    cost=per_element(1),
)
CONCAT = OpDef(
    "concat",
    "Tensors joined along an axis.",
    _concat,
    (PortDecl("x", variadic=True),),
    attrs=(AttrDecl("axis", "int", required=True),),
)
SLICE = OpDef(
    "slice",
    "A range of an axis.",
    _slice,
    attrs=(AttrDecl("axis", "int", required=True), AttrDecl("start", "int", 0), AttrDecl("stop", "int")),
)
SPLIT = OpDef(
    "split",
    "An axis cut into named parts.",
    _split,
    attrs=(AttrDecl("axis", "int", required=True), AttrDecl("into", "parts", required=True)),
    outputs=None,
    named_by="into",
)
