"""The first lessons against torch's own attention, transformers' rotary attention, and formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache, GPTJConfig, LlamaConfig
from transformers.models.gptj.modeling_gptj import GPTJAttention
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding

import compiler

BATCH, LENGTH, DIM, HEADS = 3, 11, 48, 6
#: Which tokens are real: no padding, padding on the left, and (never from a tokenizer) nothing at all.
MASK = torch.arange(LENGTH) >= torch.tensor([[0], [4], [LENGTH]])


def built(spec: str, **sizes: float | str) -> Any:
    """A lesson in double precision with values in every tensor."""
    model = compiler.build(spec, set=dict(sizes), dtype=torch.float64).eval()
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=draw)
    return model


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def equal(ours: Tensor, theirs: Tensor) -> None:
    assert ours.numel()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def multihead(attn: Any, **sizes: int) -> nn.MultiheadAttention:
    """torch's module with the weights of ours."""
    module = nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype=torch.float64, **sizes)
    weights = {f"{n}_proj_weight": getattr(attn, n).weight for n in "qkv"}
    if not sizes:
        weights = {"in_proj_weight": torch.cat(list(weights.values()))}
    bias = torch.cat([getattr(attn, n).bias for n in "qkv"])
    out = {f"out_proj.{p}": getattr(attn.o, p) for p in ("weight", "bias")}
    module.load_state_dict({**weights, "in_proj_bias": bias, **out})
    return module.eval()


def formula(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """Attention with one key head for each query head, by loops over batch, heads and queries."""
    out = torch.zeros_like(q)
    for b, h, t in torch.cartesian_prod(*(torch.arange(n) for n in q.shape[:3])).tolist():
        keys = seen[b, t].nonzero()[:, 0]
        if len(keys):
            score = k[b, h, keys] @ q[b, h, t] / q.shape[-1] ** 0.5
            weight = (score - score.max()).exp()
            out[b, h, t] = (weight / weight.sum()) @ v[b, h, keys]
    return out


def causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


@pytest.mark.parametrize("mask", [None, MASK[:2]], ids=["whole", "padded"])
def test_attention(mask: Tensor | None) -> None:
    model, x = built("starter_attention", dim=DIM, heads=HEADS), random(2, LENGTH, DIM)
    hidden = ~mask if mask is not None else None
    theirs, _ = multihead(model.attn)(x, x, x, key_padding_mask=hidden, attn_mask=~causal(LENGTH))
    real = mask if mask is not None else torch.ones(2, LENGTH, dtype=torch.bool)
    equal(model(x, mask)[real], theirs[real])
    model.attn.k.weight.data[0, 0] += 1e-3  # the control: one weight, moved
    assert (model(x, mask)[real] - theirs[real]).abs().max() > 1e-12


@pytest.mark.parametrize("mask", [None, MASK[:2]], ids=["whole", "padded"])
def test_cross_attention(mask: Tensor | None) -> None:
    model = built("starter_cross_attention", dim=DIM, heads=HEADS, memory_dim=20)
    x, memory = random(2, 5, DIM), random(2, LENGTH, 20)
    hidden = ~mask if mask is not None else None
    theirs, _ = multihead(model.attn, kdim=20, vdim=20)(x, memory, memory, key_padding_mask=hidden)
    equal(model(x, memory, mask), theirs)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_grouped_query(groups: int) -> None:
    """Each key head stands for as many query heads in a row as share it."""
    model, x = built("starter_grouped_query", dim=DIM, heads=HEADS, groups=groups), random(BATCH, LENGTH, DIM)
    heads = {n: getattr(model.attn, n)(x).unflatten(-1, (-1, DIM // HEADS)).transpose(1, 2) for n in "qkv"}
    assert [h.shape[1] for h in heads.values()] == [HEADS, groups, groups]
    q, k, v = (h.repeat_interleave(HEADS // h.shape[1], 1) for h in heads.values())
    seen = causal(LENGTH) & MASK[:, None]
    equal(model(x, MASK), model.attn.o(formula(q, k, v, seen).transpose(1, 2).flatten(2)))
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None])
    equal(model(x, MASK), model.attn.o(theirs.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("spec", ["starter_attention", "starter_grouped_query", "starter_rotary"])
def test_a_query_that_sees_nothing_answers_zero(spec: str) -> None:
    """Exactly, before the output's bias is added, and with finite gradients."""
    model, x = built(spec), random(BATCH, LENGTH, 64).requires_grad_()
    y = model(x, MASK)
    assert torch.equal(y[~MASK], model.attn.o.bias.expand_as(y[~MASK]))
    y.square().sum().backward()
    for tensor in (x, *model.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.any()


def test_a_memory_of_padding_answers_zero() -> None:
    model = built("starter_cross_attention")
    memory = random(BATCH, LENGTH, 96).requires_grad_()
    y = model(random(BATCH, 5, 64), memory, MASK)
    assert torch.equal(y[2], model.attn.o.bias.expand_as(y[2]))
    y.square().sum().backward()
    assert memory.grad is not None and memory.grad.isfinite().all() and not memory.grad[~MASK].any()


@pytest.mark.parametrize("spec", ["starter_attention", "starter_grouped_query", "starter_rotary"])
@pytest.mark.parametrize("mask", [None, MASK[:2]], ids=["whole", "padded"])
def test_in_steps(spec: str, mask: Tensor | None) -> None:
    """What the cache holds moves the places of the tokens that follow."""
    model, x = built(spec), random(2, LENGTH, 64)
    cache, parts = model.new_cache(2, LENGTH), []
    with torch.no_grad():
        for start, end in ((0, 5), (5, 6), (6, LENGTH)):
            parts.append(model(x[:, start:end], mask if mask is None else mask[:, :end], cache=cache))
    equal(torch.cat(parts, 1), model(x, mask))


@pytest.mark.parametrize("name", ["starter_einsum_attention", "starter_einsum_attention:single_head"])
def test_spelled_out(name: str) -> None:
    heads = 1 if "single" in name else HEADS
    model, x = built(name, dim=DIM, heads=heads), random(BATCH, LENGTH, DIM)
    whole = built("starter_attention", dim=DIM, heads=heads)
    whole.attn.load_state_dict(model.state_dict())
    equal(model(x), whole(x))


def llama() -> tuple[nn.Module, Any]:
    """transformers' attention of LLaMA, which turns halves, and what it is told about places."""
    config = LlamaConfig(
        hidden_size=DIM, num_attention_heads=HEADS, attention_bias=True, attn_implementation="sdpa",
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )  # fmt: skip
    table = LlamaRotaryEmbedding(config)
    return LlamaAttention(config, 0), lambda x, place: {"position_embeddings": table(x, place)}


def gptj(monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Module, Any]:
    """transformers' attention of GPT-J, which turns neighbours; its scores in single precision are lifted."""

    def attend(self: GPTJAttention, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask), None

    monkeypatch.setattr(GPTJAttention, "_attn", attend)
    config = GPTJConfig(n_embd=DIM, n_head=HEADS, rotary_dim=DIM // HEADS, n_positions=40)
    return GPTJAttention(config, 0), lambda x, place: {"position_ids": place}


@pytest.mark.parametrize("style", ["half", "interleaved"])
@pytest.mark.parametrize("past", [0, 7])
def test_rotary(style: str, past: int, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, told = llama() if style == "half" else gptj(monkeypatch)
    base, remembered = (500.0, "past_key_values") if style == "half" else (10000.0, "layer_past")
    model = built("starter_rotary", dim=DIM, heads=HEADS, style=style, base=base)
    if style == "interleaved":
        for name in "qkvo":  # GPT-J has none
            getattr(model.attn, name).bias.data.zero_()
    names = {**{n: f"{n}_proj" for n in "qkv"}, "o": "o_proj" if style == "half" else "out_proj"}
    state = {key.replace(key[0], names[key[0]], 1): t for key, t in model.attn.state_dict().items()}
    theirs.double().eval().load_state_dict({k: state[k] for k in theirs.state_dict()})
    x, cache, kept = random(2, LENGTH, DIM), model.new_cache(2, LENGTH), DynamicCache()
    with torch.no_grad():
        for start, end in ((0, past), (past, LENGTH)) if past else ((0, LENGTH),):
            place = torch.arange(start, end).expand(2, -1)
            mask = causal(LENGTH)[None, None, start:end, :end]
            part = x[:, start:end]
            expected, _ = theirs(part, attention_mask=mask, **{remembered: kept}, **told(part, place))
            equal(model(part, cache=cache), expected)


def test_the_two_styles_are_one_rotation() -> None:
    """Queries and keys with the even numbers first, then the odd ones, turn by halves as once in pairs."""
    half, pairs = built("starter_rotary"), built("starter_rotary:interleaved")
    order = torch.arange(64).view(8, 4, 2).transpose(1, 2).flatten()
    for name in "qk":
        for p in ("weight", "bias"):
            getattr(getattr(half.attn, name), p).data.copy_(getattr(getattr(pairs.attn, name), p)[order])
    x = random(2, LENGTH, 64)
    equal(half(x), pairs(x))


def test_patchify() -> None:
    model, pixels = compiler.build("starter_patchify"), random(2, 3, 224, 224)
    patches = model(pixels)
    assert patches.shape == (2, 196, 768)
    columns = F.unfold(pixels, 16, stride=16)  # the channel first in each patch
    assert torch.equal(patches, columns.view(2, 3, 256, 196).permute(0, 3, 2, 1).flatten(2))
    assert torch.equal(patches[1, 14 * 2 + 5].view(16, 16, 3), pixels[1, :, 32:48, 80:96].permute(1, 2, 0))


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("starter_attention", 4 * (64 * 64 + 64)),
        ("starter_cross_attention", 2 * (64 * 64 + 64) + 2 * (96 * 64 + 64)),
        ("starter_grouped_query", 2 * (64 * 64 + 64) + 2 * (64 * 32 + 32)),
        ("starter_grouped_query:multi_query", 2 * (64 * 64 + 64) + 2 * (64 * 8 + 8)),
        ("starter_patchify", 0),
    ],
)
def test_size(spec: str, count: int) -> None:
    assert sum(p.numel for p in compiler.compile(spec).table.parameters) == count
