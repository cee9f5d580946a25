"""A GPT-2 small enough to learn Shakespeare's plays letter by letter, or (bpe) by pieces of words, on a CPU.

Radford et al. 2019, Language Models are Unsupervised Multitask Learners; the text: Karpathy 2015, char-rnn
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


class CharGptOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


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
        qh = self.q(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        kh = self.k(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        vh = self.v(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        kv_k, kv_v = append(cache, "kv", past, 2, kh, vh)  # [B, 3, K, 8]
        # [B, 3, T, 8]
        a = attention(qh, kv_k, kv_v, visible, causal=True, dropout=0.1 if self.training else 0.0)
        return self.o(a.transpose(1, 2).flatten(2))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": [like.new_empty(batch, 3, capacity, 8), like.new_empty(batch, 3, capacity, 8)]}


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[B, T, 24]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(24, 96)
        self.down = nn.Linear(96, 24)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))  # [B, T, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, T, 24], visible: bool[B, 1, T, K]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24)
        self.attn = Attention()
        self.ln_2 = nn.LayerNorm(24)
        self.mlp = Mlp()

    def forward(self, x, visible, past, cache):
        attn = self.attn(self.ln_1(x), visible, past, cache and cache["attn"])  # [B, T, 24]
        r_1 = x + F.dropout(attn, 0.1, self.training)  # [B, T, 24]
        return r_1 + F.dropout(self.mlp(self.ln_2(r_1)), 0.1, self.training)  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"attn": self.attn.new_cache(batch, capacity, like)}


class CharGpt(nn.Module):
    """A GPT-2 small enough to learn Shakespeare's plays letter by letter, or (bpe) by pieces of words, on a
    CPU.

    tokens: int[B, T], mask: bool[B, K]?, labels: int[B, T]?
    """

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(61, 24)
        self.wpe = nn.Embedding(16, 24)
        self.h = nn.ModuleList(PreNorm() for _ in range(3))
        self.ln_f = nn.LayerNorm(24)

    def forward(self, tokens, mask=None, labels=None, cache=None, last=False):
        past = 0 if cache is None else cache["past"]
        total = past + tokens.shape[1]
        if total > 16:
            raise ValueError(f"a sequence of {total} is too long, this model takes 16 at most")
        sum_ = self.wte(tokens) + self.wpe(positions(tokens, mask, past))  # [B, T, 24]
        visible = causal_mask(mask, tokens, past)  # [B, 1, T, K]
        h = F.dropout(sum_, 0.1, self.training)  # [B, T, 24]
        for i, layer in enumerate(self.h):
            h = layer(h, visible, past, cache and cache["h"][i])
        if last:
            h = h[:, -1:]
        lm_head = F.linear(self.ln_f(h), self.wte.weight)  # [B, T, 61]
        target = F.pad(labels, (-1, 1), value=-100) if labels is not None else None  # [B, T]
        loss = F.cross_entropy(lm_head.flatten(0, -2), target.flatten()) if target is not None else None  # []
        if cache is not None:
            cache["past"] = total
        if loss is None:
            return lm_head
        return CharGptOutput(logits=lm_head, loss=loss)

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
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for layer in self.h:
            nn.init.normal_(layer.attn.o.weight, std=0.008164965809277261)
            nn.init.normal_(layer.mlp.down.weight, std=0.008164965809277261)
