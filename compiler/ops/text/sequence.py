"""Text of attention and its companions: calls of the small functions in backend/library.py."""

from __future__ import annotations

from compiler.ir.code import ATOM, LOOSE, Code, Lit, Piece, State, code, join
from compiler.ops.sequence import cache_axis
from compiler.ops.text.context import Context, Text


def attention(c: Context) -> Text:
    q, k = c.type("q"), c.type("k")
    parts = ["{q}", "{k}", "{v}"]
    holes: dict[str, Piece | Code] = {port: c.var(port) for port in c.typed.node.inputs}
    if c.has("bias"):
        parts.append("{bias}")
    if c.has("mask"):
        parts.append("{mask}")
    if c.attr("causal"):
        parts.append("causal=True")
    scale, width = c.attr("scale"), q.shape[3].constant
    if scale is not None and not (width and float(scale) == width**-0.5):
        parts.append("scale={scale}")
        holes["scale"] = Lit(float(scale), "scale")
    if q.shape[1] != k.shape[1]:
        parts.append("grouped=True")
    if c.attr("dropout"):
        parts.append("dropout={p} if self.training else 0.0")
        holes["p"] = c.lit("dropout")
    name = "biased_attention" if c.has("bias") else "attention"
    return Text({"y": code(f"{name}({', '.join(parts)})", **holes)})


def attention_mask(c: Context) -> Text:
    mask = c.var("mask") if c.has("mask") else "None"
    if not c.attr("causal"):
        return Text({"y": code("{m}[:, None, None, :]", m=c.var("mask", ATOM))})
    window = "" if c.attr("window") is None else ", {window}"
    name = "visible_keys" if c.attr("needed") else "causal_mask"
    text = code(
        name + "({m}, {x}, {past}" + window + ")",
        m=mask,
        x=c.var("x"),
        past=c.past(c.type("x").shape[1]),
        window=c.lit("window"),
    )
    return Text({"y": text})


def rotation(c: Context) -> Text:
    name = "rotation" if c.attr("style") == "half" else "rotation_interleaved"
    return Text({"y": code(name + "({a}, {x}.dtype)", a=c.var("angle"), x=c.var("like", ATOM))})


def rotate(c: Context) -> Text:
    name = "rotate" if c.attr("style") == "half" else "rotate_interleaved"
    return Text({"y": code(name + "({x}, {a})", x=c.var("x"), a=c.var("angle"))})


def cache(c: Context) -> Text:
    """`kv_k, kv_v = append(cache, "kv", past, axis, kh, vh)`: the earlier entries and the new ones."""
    names = list(c.typed.node.inputs)
    values = join([Code((c.var(n),), LOOSE) for n in names], ", ")
    if c.attr("mode") == "once":
        return Text(dict.fromkeys(names, values), inline=False, joint=True)
    length = c.call.axes(str(c.attr("axis")))
    assert length is not None
    head = 'append({s}, "' + c.member + '", {past}, ' + str(cache_axis(c.type(names[0]), length))
    text = code(head + ", {v})", s=State("cache"), past=State("past"), v=values)
    return Text(dict.fromkeys(names, text), inline=False, joint=True)
