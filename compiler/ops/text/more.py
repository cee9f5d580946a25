"""Text of ops that rank, route, resize, and of losses."""

from __future__ import annotations

from compiler.ir.code import ATOM, Code, Lit, code, join, size_piece
from compiler.ops.axes import axis_of
from compiler.ops.text.context import Context, Text


def argsort(c: Context) -> Text:
    return Text({"y": code("{x}.argsort(stable=True, dim={axis})", x=c.var("x", ATOM), axis=c.lit("axis"))})


def topk(c: Context) -> Text:
    text = code("{x}.topk({k}, {axis})", x=c.var("x", ATOM), k=c.lit("k"), axis=c.lit("axis"))
    return Text({"value": text, "index": text}, inline=False, joint=True)


def random(c: Context) -> Text:
    """`torch.rand(2, 3, device=x.device, dtype=x.dtype)`, drawn once whatever reads it."""
    name = "rand" if c.attr("dist") == "uniform" else "randn"
    sizes = [Code((size_piece(d, "size"),)) for d in c.typed.outputs["y"].shape]
    shape = join(sizes, ", ") if sizes else Code(("()",))
    text = code("torch." + name + "({s}, device={x}.device, dtype={x}.dtype)", s=shape, x=c.var("like", ATOM))
    return Text({"y": text})


def grouped_linear(c: Context) -> Text:
    num, out, dim = c.typed.weights[0].shape
    bias = ", bias=True" if c.attr("bias") else ""
    made = code(
        "GroupedLinear({n}, {i}, {o}" + bias + ")",
        n=size_piece(num, "num"),
        i=size_piece(dim, "dim"),
        o=size_piece(out, "out"),
    )
    return Text({"y": code("self." + c.member + "({x}, {n})", x=c.var("x"), n=c.var("count"))}, made)


def cross_entropy(c: Context) -> Text:
    """Where it shares a weight, of the linear map that has it: the pass `loss` makes such nodes."""
    weight, bias = c.share("weight"), c.share("bias")
    if weight is not None:
        options = f", self.{bias.value}" if bias is not None else ""
        options += "" if c.attr("ignore") == -100 else ", ignore={ignore}"
        call = "linear_cross_entropy({x}, {t}, self." + str(weight.value) + options + ")"
        return Text({"y": code(call, x=c.var("x"), t=c.var("labels"), ignore=c.lit("ignore"))})
    options = "" if c.attr("ignore") == -100 else ", ignore_index={ignore}"
    options += "" if not c.attr("smoothing") else ", label_smoothing={smoothing}"
    rank = c.type("labels").rank
    x, labels = code("{x}", x=c.var("x", ATOM)), code("{t}", t=c.var("labels", ATOM))
    if rank > 1:
        x, labels = code("{x}.flatten(0, -2)", x=x), code("{t}.flatten()", t=labels)
    text = code(
        "F.cross_entropy({x}, {t}" + options + ")",
        x=x,
        t=labels,
        ignore=c.lit("ignore"),
        smoothing=c.lit("smoothing"),
    )
    return Text({"y": text})


def pad(c: Context) -> Text:
    x = c.type("x")
    behind = x.rank - 1 - axis_of(c.call, x)
    widths = ", ".join(["0, 0"] * behind + ["{b}, {a}"])
    value = "" if not c.attr("value") else ", value={v}"
    text = code(
        "F.pad({x}, (" + widths + ")" + value + ")",
        x=c.var("x"),
        b=c.lit("before"),
        a=c.lit("after"),
        v=c.lit("value"),
    )
    return Text({"y": text})


def conv_transpose(c: Context) -> Text:
    rank = c.type("x").rank - 2
    options = "".join(f", {n}={{{n}}}" for n, d in (("stride", 1), ("padding", 0)) if c.attr(n) != d)
    options += "" if c.attr("bias") else ", bias=False"
    weight = c.typed.weights[0].shape
    made = code(
        f"nn.ConvTranspose{rank}d({{i}}, {{o}}, {{k}}{options})",
        i=size_piece(weight[0], "channels"),
        o=size_piece(weight[1], "out"),
        k=c.lit("kernel"),
        stride=c.lit("stride"),
        padding=c.lit("padding"),
    )
    return Text({"y": code("self." + c.member + "({x})", x=c.var("x"))}, made)


def group_norm(c: Context) -> Text:
    affine = "" if c.attr("affine") else ", affine=False"
    eps = "" if c.attr("eps") == 1e-5 else ", eps={eps}"
    channels = size_piece(c.type("x").shape[1], "channels")
    made = code("nn.GroupNorm({g}, {n}" + eps + affine + ")", g=c.lit("groups"), n=channels, eps=c.lit("eps"))
    return Text({"y": code("self." + c.member + "({x})", x=c.var("x"))}, made)


def interpolate(c: Context) -> Text:
    size = join([Code((size_piece(d, "size"),)) for d in c.typed.outputs["y"].shape[2:]], ", ")
    mode = str(c.attr("mode"))
    smooth = "" if mode == "nearest" else ", align_corners=False"
    smooth += ", antialias=True" if c.attr("antialias") else ""
    comma = "," if len(c.typed.outputs["y"].shape) == 3 else ""
    text = code(
        "F.interpolate({x}, ({s}" + comma + '), mode="' + mode + '"' + smooth + ")", x=c.var("x"), s=size
    )
    return Text({"y": text})


def split(c: Context) -> Text:
    x = c.type("x")
    axis = axis_of(c.call, x)
    sizes = [Code((size_piece(t.shape[axis], name),)) for name, t in c.typed.outputs.items()]
    text = code("{x}.split(({s}), {axis})", x=c.var("x", ATOM), s=join(sizes, ", "), axis=Lit(axis, "axis"))
    return Text(dict.fromkeys(c.typed.outputs, text), inline=False, joint=True)
