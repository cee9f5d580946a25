"""A translation model, BART's shape with fixed sinusoidal positions and no norm on the embeddings.

Junczys-Dowmunt et al. 2018, Marian: Fast Neural Machine Translation in C++
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
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


class MarianOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class Sinusoids(nn.Module):
    """Fixed position vectors, sines in the first half and cosines in the second.

    Vaswani et al. 2017, section 3.5; computed in float64 as the released models' tables were

    pos: int[T]
    """

    def forward(self, pos):
        k = torch.arange(12, device=pos.device).to(torch.float64)  # [12]
        angle = pos[:, None] / (10000 ** (2 * k / 24))  # [T, 12]
        return torch.cat((angle.sin(), angle.cos()), 1).to(torch.float32)  # [T, 24]


class EncoderAttention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 24], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x, attend):
        qh = self.q(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        kh = self.k(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        vh = self.v(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        return self.o(attention(qh, kh, vh, attend).transpose(1, 2).flatten(2))  # [B, T, 24]


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[B, _, 24]
    """

    def __init__(self, hidden):
        super().__init__()
        self.up = nn.Linear(24, hidden)
        self.down = nn.Linear(hidden, 24)

    def forward(self, x):
        return self.down(F.silu(self.up(x)))  # [B, _, 24]


class PostNorm(nn.Module):
    """A transformer layer that normalises after each residual sum.

    Vaswani et al. 2017, section 5.4

    x: float[B, S, 24], source_mask_attend: bool[B, 1, 1, S]?
    """

    def __init__(self):
        super().__init__()
        self.attn = EncoderAttention()
        self.ln_1 = nn.LayerNorm(24)
        self.mlp = Mlp(hidden=40)
        self.ln_2 = nn.LayerNorm(24)

    def forward(self, x, source_mask_attend):
        ln_1 = self.ln_1(x + F.dropout(self.attn(x, source_mask_attend), 0.1, self.training))  # [B, S, 24]
        return self.ln_2(ln_1 + F.dropout(self.mlp(ln_1), 0.1, self.training))  # [B, S, 24]


class DecoderAttention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 24], visible: bool[1, 1, T, K]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x, visible, past, cache):
        qh = self.q(x).unflatten(-1, (2, 12)).transpose(1, 2)  # [B, 2, T, 12]
        kh = self.k(x).unflatten(-1, (2, 12)).transpose(1, 2)  # [B, 2, T, 12]
        vh = self.v(x).unflatten(-1, (2, 12)).transpose(1, 2)  # [B, 2, T, 12]
        kv_k, kv_v = append(cache, "kv", past, 2, kh, vh)  # [B, 2, K, 12]
        m = attention(qh, kv_k, kv_v, visible, causal=True).transpose(1, 2).flatten(2)  # [B, T, 24]
        return self.o(m)  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": [like.new_empty(batch, 2, capacity, 12), like.new_empty(batch, 2, capacity, 12)]}


class CrossAttention(nn.Module):
    """Attention from one sequence to another, whose keys and values are computed once and kept.

    Vaswani et al. 2017, section 3.2.3

    x: float[B, T, 24], memory: float[B, S, 24], attend: bool[B, 1, 1, S]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x, memory, attend, cache):
        if cache is None or cache["kv"] is None:
            kh = self.k(memory).unflatten(-1, (2, 12)).transpose(1, 2)  # [B, 2, S, 12]
            vh = self.v(memory).unflatten(-1, (2, 12)).transpose(1, 2)  # [B, 2, S, 12]
            kv_k, kv_v = kh, vh  # [B, 2, S, 12]
            if cache is not None:
                cache["kv"] = [kv_k, kv_v]
        else:
            kv_k, kv_v = cache["kv"]
        a = attention(self.q(x).unflatten(-1, (2, 12)).transpose(1, 2), kv_k, kv_v, attend)  # [B, 2, T, 12]
        return self.o(a.transpose(1, 2).flatten(2))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": None}


class PostNormDecoder(nn.Module):
    """A layer of a decoder that also reads an encoder, normalised after each residual sum.

    Vaswani et al. 2017, sections 3.1 and 5.4

    x: float[B, T, 24], encoder: float[B, S, 24], visible: bool[1, 1, T, K]?, source_mask_attend: bool[B,
    1, 1, S]?
    """

    def __init__(self):
        super().__init__()
        self.attn = DecoderAttention()
        self.ln_1 = nn.LayerNorm(24)
        self.cross = CrossAttention()
        self.ln_2 = nn.LayerNorm(24)
        self.mlp = Mlp(hidden=56)
        self.ln_3 = nn.LayerNorm(24)

    def forward(self, x, encoder, visible, source_mask_attend, past, cache):
        attn = self.attn(x, visible, past, cache and cache["attn"])  # [B, T, 24]
        ln_1 = self.ln_1(x + F.dropout(attn, 0.1, self.training))  # [B, T, 24]
        cross = self.cross(ln_1, encoder, source_mask_attend, cache and cache["cross"])  # [B, T, 24]
        ln_2 = self.ln_2(ln_1 + F.dropout(cross, 0.1, self.training))  # [B, T, 24]
        return self.ln_3(ln_2 + F.dropout(self.mlp(ln_2), 0.1, self.training))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {
            "attn": self.attn.new_cache(batch, capacity, like),
            "cross": self.cross.new_cache(batch, capacity, like),
        }


class Marian(nn.Module):
    """A translation model, BART's shape with fixed sinusoidal positions and no norm on the embeddings.

    source: int[B, S], source_mask: bool[B, S]?, labels: int[B, T]?, target: int[B, T]?
    """

    def __init__(self):
        super().__init__()
        self.shared = nn.Embedding(61, 24)
        self.e_row = Sinusoids()
        self.encoder = nn.ModuleList(PostNorm() for _ in range(2))
        self.d_row = Sinusoids()
        self.decoder = nn.ModuleList(PostNormDecoder() for _ in range(3))
        self.head_bias = nn.Parameter(torch.empty(61), requires_grad=False)

    def forward(self, source, source_mask=None, labels=None, target=None, cache=None, last=False):
        past = 0 if cache is None else cache["past"]
        if source.shape[1] > 24:
            raise ValueError(f"a sequence of {source.shape[1]} is too long, this model takes 24 at most")
        e_tok = self.shared(source) * 4.898979485566356  # [B, S, 24]
        e_place = self.e_row(torch.arange(source.shape[1], device=source.device)).to(e_tok.dtype)  # [S, 24]
        # [B, 1, 1, S]
        source_mask_attend = source_mask[:, None, None, :] if source_mask is not None else None
        encoder = F.dropout(e_tok + e_place, 0.1, self.training)  # [B, S, 24]
        for layer in self.encoder:
            encoder = layer(encoder, source_mask_attend)
        shifted = F.pad(labels, (1, -1), value=2) if labels is not None else None  # [B, T]
        if target is None:
            target = shifted  # [B, T]
        if target is None:
            raise ValueError("give target or labels")
        total = past + target.shape[1]
        if total > 24:
            raise ValueError(f"a sequence of {total} is too long, this model takes 24 at most")
        d_tok = self.shared(torch.where(target == -100, 1, target)) * 4.898979485566356  # [B, T, 24]
        d_row = self.d_row(torch.arange(past, past + target.shape[1], device=target.device))  # [T, 24]
        visible = causal_mask(None, target, past)  # [1, 1, T, K]
        decoder = F.dropout(d_tok + d_row.to(d_tok.dtype), 0.1, self.training)  # [B, T, 24]
        for i, layer in enumerate(self.decoder):
            decoder = layer(
                decoder, encoder, visible, source_mask_attend, past, cache and cache["decoder"][i]
            )
        if last:
            decoder = decoder[:, -1:]
        scores = F.linear(decoder, self.shared.weight) + self.head_bias  # [B, T, 61]
        loss = F.cross_entropy(scores.flatten(0, -2), labels.flatten()) if labels is not None else None  # []
        if cache is not None:
            cache["past"] = total
        if loss is None:
            return scores
        return MarianOutput(logits=scores, loss=loss)

    def encode(self, source, source_mask=None):
        """What the decoder reads."""
        if source.shape[1] > 24:
            raise ValueError(f"a sequence of {source.shape[1]} is too long, this model takes 24 at most")
        e_tok = self.shared(source) * 4.898979485566356  # [B, S, 24]
        e_place = self.e_row(torch.arange(source.shape[1], device=source.device)).to(e_tok.dtype)  # [S, 24]
        # [B, 1, 1, S]
        source_mask_attend = source_mask[:, None, None, :] if source_mask is not None else None
        encoder = F.dropout(e_tok + e_place, 0.1, self.training)  # [B, S, 24]
        for layer in self.encoder:
            encoder = layer(encoder, source_mask_attend)
        return encoder  # [B, S, 24]

    def decode(self, memory, source_mask=None, labels=None, target=None, cache=None, last=False):
        """The decoder, given what the encoder made."""
        past = 0 if cache is None else cache["past"]
        # [B, 1, 1, S]
        source_mask_attend = source_mask[:, None, None, :] if source_mask is not None else None
        shifted = F.pad(labels, (1, -1), value=2) if labels is not None else None  # [B, T]
        if target is None:
            target = shifted  # [B, T]
        if target is None:
            raise ValueError("give target or labels")
        total = past + target.shape[1]
        if total > 24:
            raise ValueError(f"a sequence of {total} is too long, this model takes 24 at most")
        d_tok = self.shared(torch.where(target == -100, 1, target)) * 4.898979485566356  # [B, T, 24]
        d_row = self.d_row(torch.arange(past, past + target.shape[1], device=target.device))  # [T, 24]
        visible = causal_mask(None, target, past)  # [1, 1, T, K]
        decoder = F.dropout(d_tok + d_row.to(d_tok.dtype), 0.1, self.training)  # [B, T, 24]
        for i, layer in enumerate(self.decoder):
            decoder = layer(decoder, memory, visible, source_mask_attend, past, cache and cache["decoder"][i])
        if last:
            decoder = decoder[:, -1:]
        if cache is not None:
            cache["past"] = total
        return F.linear(decoder, self.shared.weight) + self.head_bias  # [B, T, 61]

    def new_cache(self, batch, capacity):
        """Room for `capacity` tokens; pass it as `cache`, it fills as forward runs."""
        like = next(self.parameters())
        return {"past": 0, "decoder": [layer.new_cache(batch, capacity, like) for layer in self.decoder]}

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head_bias)
