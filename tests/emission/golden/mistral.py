"""LLaMA with grouped queries, each of which sees the last `window` tokens.

Jiang et al. 2023, Mistral 7B
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
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


def causal_mask(mask, x, past, window=None):
    """visible_keys, or None where attention needs no mask for them."""
    length = x.shape[1]
    if window is not None and past + length <= window:
        window = None
    if length == 1 and window is None:
        return None if mask is None else mask[:, None, None, :]
    if mask is None and past == 0 and window is None:
        return None
    return visible_keys(mask, x, past, window)


def attention(q, k, v, mask=None, causal=False, scale=None, grouped=False, dropout=0.0):
    """softmax(q k^T * scale) v over [B, heads, T, head_dim]; a mask with `causal` holds that rule already."""
    if grouped and q.shape[2] == 1 and (mask is None or mask.shape[1] == 1):
        # one token: the heads of a group are queries of the same keys, each of which is read once
        shared = q.reshape(q.shape[0], k.shape[1], -1, q.shape[3])
        a = F.scaled_dot_product_attention(shared, k, v, attn_mask=mask, scale=scale, dropout_p=dropout)
        return a.reshape(*q.shape[:3], v.shape[3])
    if causal and mask is None and q.shape[2] > 1:
        return F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=grouped, dropout_p=dropout
        )
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=scale, enable_gqa=grouped, dropout_p=dropout
    )


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


class MistralOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class RopeTable(nn.Module):
    """The angle by which each pair of a head turns at each position.

    Su et al. 2021, RoFormer, equation 15

    pos: int[B, T]
    """

    def forward(self, pos):
        freq = 1 / (10000.0 ** ((2 * torch.arange(4, device=pos.device)).float() / 8))  # [4]
        return pos[:, :, None] * freq  # [B, T, 4]


class RotaryAttention(nn.Module):
    """Attention whose queries and keys are rotated by position-dependent angles.

    Su et al. 2021, RoFormer

    x: float[B, T, 24], turn: float[2, B, 1, T, 8], visible: bool[B, 1, T, K]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 48, bias=False)
        self.k = nn.Linear(24, 16, bias=False)
        self.v = nn.Linear(24, 16, bias=False)
        self.o = nn.Linear(48, 24, bias=False)

    def forward(self, x, turn, visible, past, cache):
        qh = self.q(x).unflatten(-1, (6, 8)).transpose(1, 2)  # [B, 6, T, 8]
        kh = self.k(x).unflatten(-1, (2, 8)).transpose(1, 2)  # [B, 2, T, 8]
        vh = self.v(x).unflatten(-1, (2, 8)).transpose(1, 2)  # [B, 2, T, 8]
        qr = rotate(qh, turn)  # [B, 6, T, 8]
        kr = rotate(kh, turn)  # [B, 2, T, 8]
        kv_k, kv_v = append(cache, "kv", past, 2, kr, vh)  # [B, 2, K, 8]
        a = attention(qr, kv_k, kv_v, visible, causal=True, grouped=True)  # [B, 6, T, 8]
        return self.o(a.transpose(1, 2).flatten(2))  # [B, T, 24]

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
        return self.down(F.silu(self.gate(x)) * self.up(x))  # [B, T, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, T, 24], turn: float[2, B, 1, T, 8], visible: bool[B, 1, T, K]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.RMSNorm(24, eps=1e-05)
        self.attn = RotaryAttention()
        self.ln_2 = nn.RMSNorm(24, eps=1e-05)
        self.mlp = GatedMlp()

    def forward(self, x, turn, visible, past, cache):
        r_1 = x + self.attn(self.ln_1(x), turn, visible, past, cache and cache["attn"])  # [B, T, 24]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"attn": self.attn.new_cache(batch, capacity, like)}


class Mistral(nn.Module):
    """LLaMA with grouped queries, each of which sees the last `window` tokens.

    tokens: int[B, T], mask: bool[B, K]?, labels: int[B, T]?
    """

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(61, 24)
        self.angle = RopeTable()
        self.h = nn.ModuleList(PreNorm() for _ in range(2))
        self.norm = nn.RMSNorm(24, eps=1e-05)
        self.lm_head = nn.Linear(24, 61, bias=False)

    def forward(self, tokens, mask=None, labels=None, cache=None, last=False):
        past = 0 if cache is None else cache["past"]
        total = past + tokens.shape[1]
        if total > 16:
            raise ValueError(f"a sequence of {total} is too long, this model takes 16 at most")
        embed = self.embed(tokens)  # [B, T, 24]
        turn = rotation(self.angle(positions(tokens, mask, past)), embed.dtype)  # [2, B, 1, T, 8]
        nearest_5 = causal_mask(mask, tokens, past, 5)  # [B, 1, T, K]
        h = embed  # [B, T, 24]
        for i, layer in enumerate(self.h):
            h = layer(h, turn, nearest_5, past, cache and cache["h"][i])
        if last:
            h = h[:, -1:]
        lm_head = self.lm_head(self.norm(h))  # [B, T, 61]
        target = F.pad(labels, (-1, 1), value=-100) if labels is not None else None  # [B, T]
        loss = F.cross_entropy(lm_head.flatten(0, -2), target.flatten()) if target is not None else None  # []
        if cache is not None:
            cache["past"] = total
        if loss is None:
            return lm_head
        return MistralOutput(logits=lm_head, loss=loss)

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
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
