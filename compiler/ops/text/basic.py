"""Text of sources, linear maps, norms and simple pointwise ops."""

from __future__ import annotations

from compiler.ir.code import ATOM, PRODUCT, SUM, Code, Lit, code, join, size_piece
from compiler.ir.opdef import OpFault
from compiler.ops.text.context import Context, Text


def _call(c: Context, port: str = "x") -> Code:
    return code("self." + c.member + "({x})", x=c.var(port))


def parameter(c: Context) -> Text:
    shape = join([Code((Lit(d.constant, "shape"),)) for d in c.typed.weights[0].shape], ", ")
    grad = "" if c.attr("trainable") else ", requires_grad=False"
    dtype = "" if c.attr("dtype") == "float" else ", dtype=torch.float32"
    made = code("nn.Parameter(torch.empty({shape}" + dtype + ")" + grad + ")", shape=shape)
    if not c.typed.weights[0].shape:
        made = code("nn.Parameter(torch.empty(()" + dtype + ")" + grad + ")")
    return Text({"y": code("self." + c.member)}, made)


def iota(c: Context) -> Text:
    (size,) = c.typed.outputs["y"].shape
    start = c.attr("start")
    if start:
        stop = size_piece(size, "size")
        text = code(
            "torch.arange({a}, {a} + {n}, device={x}.device)", a=c.lit("start"), n=stop, x=c.any_input()
        )
    else:
        text = code("torch.arange({n}, device={x}.device)", n=size_piece(size, "size"), x=c.any_input())
    return Text({"y": text})


def positions(c: Context) -> Text:
    mask = c.var("mask") if c.has("mask") else "None"
    past = c.past(c.type("x").shape[1])
    length = code("{x}.shape[1]", x=c.var("x", ATOM))
    device = code("{x}.device", x=c.var("x", ATOM))
    total = length if past == "0" else code("{p} + {n}", p=past, n=length)
    slots = "torch.arange({n}, device={d})" if past == "0" else "torch.arange({p}, {n}, device={d})"
    return Text(
        {
            "q": code("positions({x}, {m}, {p})", x=c.var("x"), m=mask, p=past),
            "t": code(slots, p=past, n=total, d=device),
            "k": code("torch.arange({n}, device={d})", n=total, d=device),
        }
    )


def embedding(c: Context) -> Text:
    made = code("nn.Embedding({n}, {d})", n=c.lit("num"), d=c.lit("dim"))
    return Text({"y": _call(c, "ids")}, made)


def linear(c: Context, local: bool = False) -> Text:
    """local: a shared weight goes through a module, where it can be told which part of it is here."""
    owner = c.share("weight")
    if owner is not None:
        if c.attr("bias"):
            raise OpFault(
                "bad-value",
                "a linear map that shares its weight has no bias of its own",
                attr="bias",
                help="add a `parameter`",
            )
        if local:
            called = code("self." + c.member + "({x}, self." + str(owner.value) + ")", x=c.var("x"))
            return Text({"y": called}, code("TiedLinear()"))
        return Text({"y": code("F.linear({x}, self." + str(owner.value) + ")", x=c.var("x"))})
    inside = size_piece(c.type("x").shape[-1], "dim")
    outside = size_piece(c.typed.outputs["y"].shape[-1], "out")
    return Text(
        {"y": _call(c)}, code("nn.Linear({i}, {o}" + _option(c, "bias", True) + ")", i=inside, o=outside)
    )


def lora_linear(c: Context) -> Text:
    inside = size_piece(c.type("x").shape[-1], "dim")
    outside = size_piece(c.typed.outputs["y"].shape[-1], "out")
    made = code(
        "LoraLinear({i}, {o}" + _option(c, "bias", True) + ", rank={r}, alpha={a}, dropout={p})",
        i=inside, o=outside, r=c.lit("rank"), a=c.lit("alpha"), p=c.lit("dropout"),
    )  # fmt: skip
    return Text({"y": _call(c)}, made)


def _option(c: Context, name: str, default: object) -> str:
    """A keyword left out where it has torch's own default."""
    value = c.attr(name)
    return "" if value == default else f", {name}={value}"


def conv(c: Context) -> Text:
    x, weight = c.type("x"), c.typed.weights[0].shape
    rank = x.rank - 2
    options = ""
    for name, default in (("stride", 1), ("padding", 0), ("groups", 1)):
        if c.attr(name) != default:
            options += f", {name}={{{name}}}"
    holes = {n: c.lit(n) for n in ("stride", "padding", "groups")}
    made = code(
        f"nn.Conv{rank}d({{i}}, {{o}}, {{k}}{options}{_option(c, 'bias', True)})",
        i=size_piece(x.shape[1], "channels"),
        o=size_piece(weight[0], "out"),
        k=c.lit("kernel"),
        **holes,
    )
    return Text({"y": _call(c)}, made)


def layer_norm(c: Context) -> Text:
    width = size_piece(c.type("x").shape[-1], "dim")
    options = (
        ", elementwise_affine=False" if not c.attr("affine") else ("" if c.attr("bias") else ", bias=False")
    )
    eps = "" if c.attr("eps") == 1e-5 else ", eps={eps}"
    made = code("nn.LayerNorm({n}" + eps + options + ")", n=width, eps=c.lit("eps"))
    return Text({"y": _call(c)}, made)


def rms_norm(c: Context) -> Text:
    options = "" if c.attr("affine") else ", elementwise_affine=False"
    width, eps = size_piece(c.type("x").shape[-1], "dim"), c.lit("eps")
    made = code("nn.RMSNorm({n}, eps={eps}" + options + ")", n=width, eps=eps)
    if not c.attr("offset"):
        return Text({"y": _call(c)}, made)
    weight = code("{o} + self." + c.member + ".weight", o=c.lit("offset"))
    return Text(
        {"y": code("F.rms_norm({x}, ({n},), {w}, {eps})", x=c.var("x"), n=width, w=weight, eps=eps)}, made
    )


_ACTIVATIONS = {
    "gelu": "F.gelu({x})",
    "gelu_tanh": 'F.gelu({x}, approximate="tanh")',
    "relu": "F.relu({x})",
    "leaky_relu": "F.leaky_relu({x})",
    "silu": "F.silu({x})",
    "sigmoid": "torch.sigmoid({x})",
    "tanh": "torch.tanh({x})",
    "quick_gelu": "quick_gelu({x})",
}


def activation(c: Context) -> Text:
    return Text({"y": code(_ACTIVATIONS[str(c.attr("fn"))], x=c.var("x"))})


def add(c: Context) -> Text:
    return Text({"y": join(c.vars("x", SUM), " + ", SUM)})


def mul(c: Context) -> Text:
    return Text({"y": join(c.vars("x", PRODUCT), " * ", PRODUCT)})


def softmax(c: Context) -> Text:
    dtype = "" if c.attr("dtype") is None else f", dtype=torch.{c.attr('dtype')}"
    if c.has("mask"):
        text = "masked_softmax({x}, {mask}, {axis}" + dtype + ")"
        return Text({"y": code(text, x=c.var("x"), mask=c.var("mask"), axis=c.lit("axis"))})
    return Text({"y": code("{x}.softmax({axis}" + dtype + ")", x=c.var("x", ATOM), axis=c.lit("axis"))})


def cast(c: Context) -> Text:
    if c.has("like"):
        return Text({"y": code("{x}.to({like}.dtype)", x=c.var("x", ATOM), like=c.var("like", ATOM))})
    dtype = str(c.attr("dtype"))
    name = {"int": "int64"}.get(dtype, dtype)
    return Text({"y": code("{x}.to(torch." + name + ")", x=c.var("x", ATOM))})


def dropout(c: Context) -> Text:
    return Text({"y": code("F.dropout({x}, {p}, self.training)", x=c.var("x"), p=c.lit("p"))})
