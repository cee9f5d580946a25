"""Text of attention and its companions: calls of the small functions in backend/library.py."""

from __future__ import annotations

from compiler.ir.code import ATOM, LOOSE, Code, Lit, State, code, join
from compiler.ops.sequence import cache_axis
from compiler.ops.text.context import Context, Text


def attention(c: Context) -> Text:
    q, k = c.type("q"), c.type("k")
    template = "attention({q}, {k}, {v}"
    if c.has("mask"):
        template += ", {mask}"
    if c.attr("causal"):
        template += ", causal=True"
    scale, width = c.attr("scale"), q.shape[3].constant
    if scale is not None and not (width and float(scale) == width**-0.5):
        template += ", scale={scale}"
    if q.shape[1] != k.shape[1]:
        template += ", grouped=True"
    if c.attr("dropout"):
        template += ", dropout={p} if self.training else 0.0"
    holes = {"q": c.var("q"), "k": c.var("k"), "v": c.var("v"), "scale": Lit(_number(scale), "scale"), "p": c.lit("dropout")}
    if c.has("mask"):
        holes["mask"] = c.var("mask")
    return Text({"y": code(template + ")", **holes)})


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def attention_mask(c: Context) -> Text:
    mask = c.var("mask") if c.has("mask") else "None"
    if not c.attr("causal"):
        return Text({"y": code("{m}[:, None, None, :]", m=c.var("mask", ATOM))})
    return Text({"y": code("causal_mask({m}, {x}, {past})", m=mask, x=c.var("x"), past=c.past)})


def rotation(c: Context) -> Text:
    name = "rotation" if c.attr("style") == "half" else "rotation_interleaved"
    return Text({"y": code(name + "({a}, {x}.dtype)", a=c.var("angle"), x=c.var("like", ATOM))})


def rotate(c: Context) -> Text:
    name = "rotate" if c.attr("style") == "half" else "rotate_interleaved"
    return Text({"y": code(name + "({x}, {a})", x=c.var("x"), a=c.var("angle"))})


def cache(c: Context) -> Text:
    """`kv_k, kv_v = append(cache, "kv", past, axis, kh, vh)`: the earlier entries and the new ones."""
    names = list(c.typed.node.inputs)
    length = c.call.axes(str(c.attr("axis")))
    assert length is not None
    axis = cache_axis(c.type(names[0]), length)
    values = join([Code((c.var(n),), LOOSE) for n in names], ", ")
    text = code('append({s}, "' + c.member + '", {past}, ' + str(axis) + ", {v})", s=State("cache"), past=c.past, v=values)
    return Text(dict.fromkeys(names, text), inline=False, joint=True)
