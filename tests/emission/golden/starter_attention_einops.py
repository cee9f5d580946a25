"""Causal multi-head attention, one layer; each token looks at itself and at those before it.

Vaswani et al. 2017, Attention Is All You Need, section 3.2
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn


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


class Attention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 24], visible: bool[B, 1, T, K]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x, visible, past, cache):
        q = self.q(x)  # [B, T, 24]
        k = self.k(x)  # [B, T, 24]
        v = self.v(x)  # [B, T, 24]
        qh = rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, T, 8]
        kh = rearrange(k, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, T, 8]
        vh = rearrange(v, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, T, 8]
        kv_k, kv_v = append(cache, "kv", past, 2, kh, vh)  # [B, 3, K, 8]
        a = attention(qh, kv_k, kv_v, visible, causal=True)  # [B, 3, T, 8]
        return self.o(rearrange(a, "B heads T head_dim -> B T (heads head_dim)"))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": [like.new_empty(batch, 3, capacity, 8), like.new_empty(batch, 3, capacity, 8)]}


class StarterAttention(nn.Module):
    """Causal multi-head attention, one layer; each token looks at itself and at those before it.

    x: float[B, T, 24], mask: bool[B, K]?
    """

    def __init__(self):
        super().__init__()
        self.attn = Attention()

    def forward(self, x, mask=None, cache=None, last=False):
        past = 0 if cache is None else cache["past"]
        total = past + x.shape[1]
        attn = self.attn(x, causal_mask(mask, x, past), past, cache and cache["attn"])  # [B, T, 24]
        if last:
            attn = attn[:, -1:]
        if cache is not None:
            cache["past"] = total
        return attn  # [B, T, 24]

    def new_cache(self, batch, capacity):
        """Room for `capacity` tokens; pass it as `cache`, it fills as forward runs."""
        like = next(self.parameters())
        return {"past": 0, "attn": self.attn.new_cache(batch, capacity, like)}

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                nn.init.zeros_(module.bias)
