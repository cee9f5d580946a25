"""Parameter tables of the four families as the compiled modules have them; sizes break every symmetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from compiler.ir.parameters import Parameter, ParameterTable
from compiler.source.text import SourceFile, Span
from compiler.weights.header import Header, TensorInfo

Named = Iterator[tuple[str, tuple[int, ...]]]
SPEC = SourceFile("specs/family.yaml", "the whole spec on one line\n")
LINE = Span(SPEC, 1, 1, 1, 10)


def table(spec: str, tensors: Named, ties: Mapping[str, str], values: Mapping[str, Any]) -> ParameterTable:
    """A table whose every tensor is declared on line 1."""
    parameters = tuple(Parameter(name, shape, "float", LINE) for name, shape in tensors)
    return ParameterTable(spec, (), parameters, ties, values)


def header(tensors: Mapping[str, torch.Tensor]) -> Header:
    path = Path("model.safetensors")
    infos = {
        k: TensorInfo(k, str(t.dtype).removeprefix("torch."), tuple(t.shape), path)
        for k, t in tensors.items()
    }
    return Header(path, "safetensors", infos, {})


def module(parameters: ParameterTable) -> torch.nn.Module:
    """A meta module with exactly these tensors."""
    root = torch.nn.Module()
    for parameter in parameters.parameters:
        *path, leaf = parameter.name.split(".")
        owner = root
        for step in path:
            if step not in dict(owner.named_children()):
                owner.add_module(step, torch.nn.Module())
            owner = owner.get_submodule(step)
        owner.register_parameter(leaf, torch.nn.Parameter(torch.empty(parameter.shape, device="meta")))
    return root


def gpt2(**override: Any) -> ParameterTable:
    values: dict[str, Any] = dict(
        vocab=11, context=9, dim=6, depth=11, heads=2, hidden=26, act="gelu_tanh", eps=1e-5
    )
    values |= override
    d = values["dim"]

    def tensors() -> Named:
        yield "wte.weight", (values["vocab"], d)
        yield "wpe.weight", (values["context"], d)
        for i in range(values["depth"]):
            for norm in ("ln_1", "ln_2"):
                yield from _affine(f"h.{i}.{norm}", d)
            yield from _mixer(f"h.{i}", d, values["hidden"])
        yield from _affine("ln_f", d)

    return table("gpt2", tensors(), {"lm_head.weight": "wte.weight"}, values)


def llama(**override: Any) -> ParameterTable:
    values: dict[str, Any] = dict(
        vocab=13, dim=8, depth=11, heads=4, kv_heads=2, head_dim=6, hidden=10, base=10000.0, context=32,
        eps=1e-6, tied=False, act="silu", bias=False, mlp_bias=False,
    )  # fmt: skip
    values |= override
    d, q, k = values["dim"], values["heads"] * values["head_dim"], values["kv_heads"] * values["head_dim"]

    def tensors() -> Named:
        yield "embed.weight", (values["vocab"], d)
        for i in range(values["depth"]):
            yield f"h.{i}.ln_1.weight", (d,)
            for name, out in (("q", q), ("k", k), ("v", k)):
                yield f"h.{i}.attn.{name}.weight", (out, d)
            yield f"h.{i}.attn.o.weight", (d, q)
            yield f"h.{i}.ln_2.weight", (d,)
            for name in ("gate", "up"):
                yield f"h.{i}.mlp.{name}.weight", (values["hidden"], d)
            yield f"h.{i}.mlp.down.weight", (d, values["hidden"])
        yield "norm.weight", (d,)
        if not values["tied"]:
            yield "lm_head.weight", (values["vocab"], d)

    return table("llama", tensors(), {"lm_head.weight": "embed.weight"} if values["tied"] else {}, values)


def bert(mlm: bool = False, **override: Any) -> ParameterTable:
    values: dict[str, Any] = dict(
        vocab=11, context=7, types=2, dim=8, depth=11, heads=2, hidden=10, act="gelu", eps=1e-12
    )
    values |= override
    d = values["dim"]

    def tensors() -> Named:
        for name, rows in (("token", "vocab"), ("position", "context"), ("segment", "types")):
            yield f"{name}.weight", (values[rows], d)
        yield from _affine("ln", d)
        for i in range(values["depth"]):
            yield from _mixer(f"h.{i}", d, values["hidden"])
            for norm in ("ln_1", "ln_2"):
                yield from _affine(f"h.{i}.{norm}", d)
        if mlm:
            yield from _linear("transform", d, d)
            yield from _affine("transform_ln", d)
            yield "decoder_bias", (values["vocab"],)
        else:
            yield from _linear("pooler", d, d)

    ties = {"decoder.weight": "token.weight"} if mlm else {}
    return table("bert_mlm" if mlm else "bert", tensors(), ties, values)


def clip(**override: Any) -> ParameterTable:
    values: dict[str, Any] = dict(
        vocab=11, context=7, embed=5, image=8, patch=4, v_dim=6, v_depth=11, v_heads=3, v_hidden=24, t_dim=8,
        t_depth=3, t_heads=2, t_hidden=32, act="quick_gelu", eps=1e-5, eot=10,
    )  # fmt: skip
    values |= override
    v, t = values["v_dim"], values["t_dim"]

    def tensors() -> Named:
        yield "patches.weight", (v, 3, values["patch"], values["patch"])
        yield "cls", (v,)
        yield "v_pos", ((values["image"] // values["patch"]) ** 2 + 1, v)
        yield "t_tok.weight", (values["vocab"], t)
        yield "t_pos.weight", (values["context"], t)
        for tower, letter, d in (("visual", "v", v), ("text", "t", t)):
            for i in range(values[f"{letter}_depth"]):
                for norm in ("ln_1", "ln_2"):
                    yield from _affine(f"{tower}.h.{i}.{norm}", d)
                yield from _mixer(f"{tower}.h.{i}", d, values[f"{letter}_hidden"])
            yield from _affine(f"{letter}_post", d)
            yield f"{letter}_proj.weight", (values["embed"], d)
        yield from _affine("v_pre", v)
        yield "logit_scale", ()

    return table("clip_vitb32", tensors(), {}, values)


def _affine(name: str, size: int) -> Named:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


def _linear(name: str, out: int, size: int) -> Named:
    yield f"{name}.weight", (out, size)
    yield f"{name}.bias", (out,)


def _mixer(name: str, dim: int, hidden: int) -> Named:
    for part in ("q", "k", "v", "o"):
        yield from _linear(f"{name}.attn.{part}", dim, dim)
    yield from _linear(f"{name}.mlp.up", hidden, dim)
    yield from _linear(f"{name}.mlp.down", dim, hidden)
