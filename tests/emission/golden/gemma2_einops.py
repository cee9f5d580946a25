"""Decoder-only language model with norms around each sublayer, capped scores and logits, and layers that in
turn see a window or everything before.

Gemma Team 2024, Gemma 2: Improving Open Language Models at a Practical Size
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import nn


def positions(x, mask, past):
    """The place of each token, int[B, T]: padding does not count, what the cache holds does."""
    batch, length = x.shape[:2]
    if mask is None:
        return torch.arange(past, past + length, device=x.device).expand(batch, length)
    return (mask.cumsum(1) - 1).clamp(min=0)[:, past:]


def visible_keys(mask, x, past, window=None):
    """The keys each query may see, bool[B or 1, 1, T, K]: none later, none padded, none out of the window."""
    keys = torch.arange(past + x.shape[1], device=x.device)
    queries = keys[past:, None]
    visible = keys <= queries
    if window is not None:
        visible = visible & (keys > queries - window)
    visible = visible[None, None]
    return visible if mask is None else visible & mask[:, None, None, :]


def masked_softmax(x, mask, axis, dtype=None):
    """softmax over what the mask keeps; where it keeps nothing, zeros."""
    if mask is None:
        return x.softmax(axis, dtype=dtype)
    kept = x.masked_fill(~mask, float("-inf"))
    return kept.softmax(axis, dtype=dtype).masked_fill(~mask, 0)


def append(cache, name, past, axis, *tensors):
    """All entries, the new ones written behind the `past` earlier ones; without a cache the new ones."""
    if cache is None:
        return tensors
    length = tensors[0].shape[axis]
    total = past + length
    kept = []
    for slot, new in zip(cache[name], tensors, strict=True):
        if total > slot.shape[axis]:
            raise ValueError(f"the cache holds {slot.shape[axis]} tokens, {total} are needed")
        slot.narrow(axis, past, length).copy_(new)
        kept.append(slot.narrow(axis, 0, total))
    return kept


def rotation(angle, dtype):
    """Cosines of angles [B, T, F], and sines as `rotate` adds them, stacked as [2, B, 1, T, 2 F]."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)))[:, :, None].to(dtype)


def rotate(x, turn):
    """Each pair (i, i + F) of x [B, heads, T, 2 F] rotated by its angle."""
    cos, sin = turn.unbind(0)
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


class Gemma2Output(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class ScaledByRoot(nn.Module):
    """Vectors times the root of their width; the factor is rounded to the vectors' dtype, as it was in
    training.

    Vaswani et al. 2017, section 3.4; the released code of Gemma

    x: float[B, T, 24]
    """

    def forward(self, x):
        same = (torch.arange(1, 1 + 1, device=x.device).float() * 4.898979485566356).to(x.dtype)  # [1]
        return x * same  # [B, T, 24]


class RopeTable(nn.Module):
    """The angle by which each pair of a head turns at each position.

    Su et al. 2021, RoFormer, equation 15

    pos: int[B, T]
    """

    def forward(self, pos):
        freq = 1 / (10000.0 ** ((2 * torch.arange(4, device=pos.device)).float() / 8))  # [4]
        return pos[:, :, None] * freq  # [B, T, 4]


class SoftcappedAttention(nn.Module):
    """Rotary attention with its scores written out, for a tanh keeps each of them between -cap and cap.

    Bello et al. 2016, Neural Combinatorial Optimization, appendix A.1; Gemma Team 2024, Gemma 2, section 2

    x: float[B, T, 24], visible: bool[B, 1, T, K], turn: float[2, B, 1, T, 8]
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 48, bias=False)
        self.k = nn.Linear(24, 16, bias=False)
        self.v = nn.Linear(24, 16, bias=False)
        self.o = nn.Linear(48, 24, bias=False)

    def forward(self, x, visible, turn, past, cache):
        q = self.q(x)  # [B, T, 48]
        k = self.k(x)  # [B, T, 16]
        v = self.v(x)  # [B, T, 16]
        kh = rearrange(k, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=2)  # [B, 2, T, 8]
        vh = rearrange(v, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=2)  # [B, 2, T, 8]
        qr = rotate(rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=6), turn)  # [B, 6, T, 8]
        kr = rotate(kh, turn)  # [B, 2, T, 8]
        kv_k, kv_v = append(cache, "kv", past, 2, kr, vh)  # [B, 2, K, 8]
        # [B, 2, 3, T, 8]
        groups = rearrange(qr, "B (kv_heads group) T d -> B kv_heads group T d", kv_heads=2)
        scores = einsum(groups, kv_k, "B h g T d, B h K d -> B h g T K")  # [B, 2, 3, T, K]
        capped = 50.0 * (scores * 0.0625 / 50.0).tanh()  # [B, 2, 3, T, K]
        seen = rearrange(visible, "B 1 T K -> B 1 1 T K")  # [B, 1, 1, T, K]
        weights = masked_softmax(capped, seen, -1)  # [B, 2, 3, T, K]
        mixed = einsum(weights, kv_v, "B h g T K, B h K d -> B h g T d")  # [B, 2, 3, T, 8]
        a = rearrange(mixed, "B h g T d -> B (h g) T d")  # [B, 6, T, 8]
        return self.o(rearrange(a, "B heads T head_dim -> B T (heads head_dim)"))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": [like.new_empty(batch, 2, capacity, 8), like.new_empty(batch, 2, capacity, 8)]}


class GatedMlp(nn.Module):
    """An MLP whose activation gates a second linear map (SwiGLU with silu).

    Shazeer 2020, GLU Variants Improve Transformer

    x: float[B, T, 24]
    """

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(24, 40, bias=False)
        self.up = nn.Linear(24, 40, bias=False)
        self.down = nn.Linear(40, 24, bias=False)

    def forward(self, x):
        return self.down(F.gelu(self.gate(x), approximate="tanh") * self.up(x))  # [B, T, 24]


class SandwichNorm(nn.Module):
    """A transformer layer that normalises before and after each sublayer.

    Ding et al. 2021, CogView, section 2.4

    x: float[B, T, 24], visible: bool[B, 1, T, K], turn: float[2, B, 1, T, 8]
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.RMSNorm(24, eps=1e-06)
        self.attn = SoftcappedAttention()
        self.ln_2 = nn.RMSNorm(24, eps=1e-06)
        self.ln_3 = nn.RMSNorm(24, eps=1e-06)
        self.mlp = GatedMlp()
        self.ln_4 = nn.RMSNorm(24, eps=1e-06)

    def forward(self, x, visible, turn, past, cache):
        ln_1 = F.rms_norm(x, (24,), 1.0 + self.ln_1.weight, 1e-06)  # [B, T, 24]
        attn = self.attn(ln_1, visible, turn, past, cache and cache["attn"])  # [B, T, 24]
        r_1 = x + F.rms_norm(attn, (24,), 1.0 + self.ln_2.weight, 1e-06)  # [B, T, 24]
        mlp = self.mlp(F.rms_norm(r_1, (24,), 1.0 + self.ln_3.weight, 1e-06))  # [B, T, 24]
        return r_1 + F.rms_norm(mlp, (24,), 1.0 + self.ln_4.weight, 1e-06)  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"attn": self.attn.new_cache(batch, capacity, like)}


class Gemma2(nn.Module):
    """Decoder-only language model with norms around each sublayer, capped scores and logits, and layers that
    in turn see a window or everything before.

    tokens: int[B, T], mask: bool[B, K]?, labels: int[B, T]?
    """

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(61, 24)
        self.scaled = ScaledByRoot()
        self.angle = RopeTable()
        self.h = nn.ModuleList(SandwichNorm() for _ in range(3))
        self.norm = nn.RMSNorm(24, eps=1e-06)

    def forward(self, tokens, mask=None, labels=None, cache=None, last=False):
        past = 0 if cache is None else cache["past"]
        total = past + tokens.shape[1]
        if total > 16:
            raise ValueError(f"a sequence of {total} is too long, this model takes 16 at most")
        scaled = self.scaled(self.embed(tokens))  # [B, T, 24]
        all_ = visible_keys(mask, tokens, past)  # [B, 1, T, K]
        near = visible_keys(mask, tokens, past, 5)  # [B, 1, T, K]
        turn = rotation(self.angle(positions(tokens, mask, past)), scaled.dtype)  # [2, B, 1, T, 8]
        h = scaled  # [B, T, 24]
        for i, layer in enumerate(self.h):
            h = layer(h, (near, all_)[i % 2], turn, past, cache and cache["h"][i])
        if last:
            h = h[:, -1:]
        norm = F.rms_norm(h, (24,), 1.0 + self.norm.weight, 1e-06)  # [B, T, 24]
        logits = 30.0 * (F.linear(norm, self.embed.weight) / 30.0).tanh()  # [B, T, 61]
        target = F.pad(labels, (-1, 1), value=-100) if labels is not None else None  # [B, T]
        loss = F.cross_entropy(logits.flatten(0, -2), target.flatten()) if target is not None else None  # []
        if cache is not None:
            cache["past"] = total
        if loss is None:
            return logits
        return Gemma2Output(logits=logits, loss=loss)

    def new_cache(self, batch, capacity):
        """Room for `capacity` tokens; pass it as `cache`, it fills as forward runs."""
        like = next(self.parameters())
        return {"past": 0, "h": [layer.new_cache(batch, capacity, like) for layer in self.h]}

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.RMSNorm):
                nn.init.zeros_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
