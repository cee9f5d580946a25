"""One small model from English to several languages; the first target token names the language, all
embeddings are one, and so are both final norms.

Johnson et al. 2017, Google's Multilingual Neural Machine Translation System; Xiong et al. 2020 for the
order of the norms
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
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


class TranslationOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class EncoderAttention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 24], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24, bias=False)
        self.k = nn.Linear(24, 24, bias=False)
        self.v = nn.Linear(24, 24, bias=False)
        self.o = nn.Linear(24, 24, bias=False)

    def forward(self, x, attend):
        q = self.q(x)  # [B, T, 24]
        k = self.k(x)  # [B, T, 24]
        v = self.v(x)  # [B, T, 24]
        qh = rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, T, 8]
        kh = rearrange(k, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, T, 8]
        vh = rearrange(v, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, T, 8]
        a = attention(qh, kh, vh, attend, dropout=0.1 if self.training else 0.0)  # [B, 3, T, 8]
        return self.o(rearrange(a, "B heads T head_dim -> B T (heads head_dim)"))  # [B, T, 24]


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[B, _, 24]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(24, 40, bias=False)
        self.down = nn.Linear(40, 24, bias=False)

    def forward(self, x):
        return self.down(F.dropout(F.relu(self.up(x)), 0.1, self.training))  # [B, _, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, S, 24], source_mask_attend: bool[B, 1, 1, S]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24, bias=False)
        self.attn = EncoderAttention()
        self.ln_2 = nn.LayerNorm(24, bias=False)
        self.mlp = Mlp()

    def forward(self, x, source_mask_attend):
        r_1 = x + F.dropout(self.attn(self.ln_1(x), source_mask_attend), 0.1, self.training)  # [B, S, 24]
        return r_1 + F.dropout(self.mlp(self.ln_2(r_1)), 0.1, self.training)  # [B, S, 24]


class DecoderAttention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 24], visible: bool[1, 1, T, K]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24, bias=False)
        self.k = nn.Linear(24, 24, bias=False)
        self.v = nn.Linear(24, 24, bias=False)
        self.o = nn.Linear(24, 24, bias=False)

    def forward(self, x, visible, past, cache):
        q = self.q(x)  # [B, T, 24]
        k = self.k(x)  # [B, T, 24]
        v = self.v(x)  # [B, T, 24]
        qh = rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, T, 8]
        kh = rearrange(k, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, T, 8]
        vh = rearrange(v, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, T, 8]
        kv_k, kv_v = append(cache, "kv", past, 2, kh, vh)  # [B, 3, K, 8]
        # [B, 3, T, 8]
        a = attention(qh, kv_k, kv_v, visible, causal=True, dropout=0.1 if self.training else 0.0)
        return self.o(rearrange(a, "B heads T head_dim -> B T (heads head_dim)"))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": [like.new_empty(batch, 3, capacity, 8), like.new_empty(batch, 3, capacity, 8)]}


class CrossAttention(nn.Module):
    """Attention from one sequence to another, whose keys and values are computed once and kept.

    Vaswani et al. 2017, section 3.2.3

    x: float[B, T, 24], memory: float[B, S, 24], attend: bool[B, 1, 1, S]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24, bias=False)
        self.k = nn.Linear(24, 24, bias=False)
        self.v = nn.Linear(24, 24, bias=False)
        self.o = nn.Linear(24, 24, bias=False)

    def forward(self, x, memory, attend, cache):
        qh = rearrange(self.q(x), "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, T, 8]
        if cache is None or cache["kv"] is None:
            k = self.k(memory)  # [B, S, 24]
            v = self.v(memory)  # [B, S, 24]
            kh = rearrange(k, "B S (kv_heads head_dim) -> B kv_heads S head_dim", kv_heads=3)  # [B, 3, S, 8]
            vh = rearrange(v, "B S (kv_heads head_dim) -> B kv_heads S head_dim", kv_heads=3)  # [B, 3, S, 8]
            kv_k, kv_v = kh, vh  # [B, 3, S, 8]
            if cache is not None:
                cache["kv"] = [kv_k, kv_v]
        else:
            kv_k, kv_v = cache["kv"]
        a = attention(qh, kv_k, kv_v, attend, dropout=0.1 if self.training else 0.0)  # [B, 3, T, 8]
        return self.o(rearrange(a, "B heads T head_dim -> B T (heads head_dim)"))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": None}


class PreNormDecoder(nn.Module):
    """A layer of a decoder that also reads an encoder, normalised before each sublayer.

    Vaswani et al. 2017, section 3.1; Xiong et al. 2020

    x: float[B, T, 24], e_norm: float[B, S, 24], visible: bool[1, 1, T, K]?, source_mask_attend: bool[B, 1,
    1, S]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24, bias=False)
        self.attn = DecoderAttention()
        self.ln_2 = nn.LayerNorm(24, bias=False)
        self.cross = CrossAttention()
        self.ln_3 = nn.LayerNorm(24, bias=False)
        self.mlp = Mlp()

    def forward(self, x, e_norm, visible, source_mask_attend, past, cache):
        attn = self.attn(self.ln_1(x), visible, past, cache and cache["attn"])  # [B, T, 24]
        r_1 = x + F.dropout(attn, 0.1, self.training)  # [B, T, 24]
        cross = self.cross(self.ln_2(r_1), e_norm, source_mask_attend, cache and cache["cross"])  # [B, T, 24]
        r_2 = r_1 + F.dropout(cross, 0.1, self.training)  # [B, T, 24]
        return r_2 + F.dropout(self.mlp(self.ln_3(r_2)), 0.1, self.training)  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {
            "attn": self.attn.new_cache(batch, capacity, like),
            "cross": self.cross.new_cache(batch, capacity, like),
        }


class Translation(nn.Module):
    """One small model from English to several languages; the first target token names the language, all
    embeddings are one, and so are both final norms.

    source: int[B, S], source_mask: bool[B, S]?, labels: int[B, T]?, target: int[B, T]?
    """

    def __init__(self):
        super().__init__()
        self.e_token = nn.Embedding(61, 24)
        self.e_place = nn.Embedding(24, 24)
        self.encoder = nn.ModuleList(PreNorm() for _ in range(2))
        self.e_norm = nn.LayerNorm(24, bias=False)
        self.decoder = nn.ModuleList(PreNormDecoder() for _ in range(2))

    def forward(self, source, source_mask=None, labels=None, target=None, cache=None, last=False):
        past = 0 if cache is None else cache["past"]
        if source.shape[1] > 24:
            raise ValueError(f"a sequence of {source.shape[1]} is too long, this model takes 24 at most")
        e_token = self.e_token(source)  # [B, S, 24]
        e_place = self.e_place(positions(source, None, 0))  # [B, S, 24]
        # [B, 1, 1, S]
        source_mask_attend = source_mask[:, None, None, :] if source_mask is not None else None
        encoder = F.dropout((e_token + e_place) * 4.898979485566356, 0.1, self.training)  # [B, S, 24]
        for layer in self.encoder:
            encoder = layer(encoder, source_mask_attend)
        e_norm = self.e_norm(encoder)  # [B, S, 24]
        shifted = F.pad(labels, (1, -1), value=1) if labels is not None else None  # [B, T]
        if target is None:
            target = shifted  # [B, T]
        if target is None:
            raise ValueError("give target or labels")
        total = past + target.shape[1]
        if total > 24:
            raise ValueError(f"a sequence of {total} is too long, this model takes 24 at most")
        token = self.e_token(torch.where(target == -100, 0, target))  # [B, T, 24]
        d_place = self.e_place(positions(target, None, past))  # [B, T, 24]
        visible = causal_mask(None, target, past)  # [1, 1, T, K]
        decoder = F.dropout((token + d_place) * 4.898979485566356, 0.1, self.training)  # [B, T, 24]
        for i, layer in enumerate(self.decoder):
            decoder = layer(decoder, e_norm, visible, source_mask_attend, past, cache and cache["decoder"][i])
        d_norm = self.e_norm(decoder)  # [B, T, 24]
        if last:
            d_norm = d_norm[:, -1:]
        lm_head = F.linear(d_norm, self.e_token.weight)  # [B, T, 61]
        loss = F.cross_entropy(lm_head.flatten(0, -2), labels.flatten()) if labels is not None else None  # []
        if cache is not None:
            cache["past"] = total
        if loss is None:
            return lm_head
        return TranslationOutput(logits=lm_head, loss=loss)

    def encode(self, source, source_mask=None):
        """What the decoder reads."""
        if source.shape[1] > 24:
            raise ValueError(f"a sequence of {source.shape[1]} is too long, this model takes 24 at most")
        e_token = self.e_token(source)  # [B, S, 24]
        e_place = self.e_place(positions(source, None, 0))  # [B, S, 24]
        # [B, 1, 1, S]
        source_mask_attend = source_mask[:, None, None, :] if source_mask is not None else None
        encoder = F.dropout((e_token + e_place) * 4.898979485566356, 0.1, self.training)  # [B, S, 24]
        for layer in self.encoder:
            encoder = layer(encoder, source_mask_attend)
        return self.e_norm(encoder)  # [B, S, 24]

    def decode(self, memory, source_mask=None, labels=None, target=None, cache=None, last=False):
        """The decoder, given what the encoder made."""
        past = 0 if cache is None else cache["past"]
        # [B, 1, 1, S]
        source_mask_attend = source_mask[:, None, None, :] if source_mask is not None else None
        shifted = F.pad(labels, (1, -1), value=1) if labels is not None else None  # [B, T]
        if target is None:
            target = shifted  # [B, T]
        if target is None:
            raise ValueError("give target or labels")
        total = past + target.shape[1]
        if total > 24:
            raise ValueError(f"a sequence of {total} is too long, this model takes 24 at most")
        token = self.e_token(torch.where(target == -100, 0, target))  # [B, T, 24]
        d_place = self.e_place(positions(target, None, past))  # [B, T, 24]
        visible = causal_mask(None, target, past)  # [1, 1, T, K]
        decoder = F.dropout((token + d_place) * 4.898979485566356, 0.1, self.training)  # [B, T, 24]
        for i, layer in enumerate(self.decoder):
            decoder = layer(decoder, memory, visible, source_mask_attend, past, cache and cache["decoder"][i])
        d_norm = self.e_norm(decoder)  # [B, T, 24]
        if last:
            d_norm = d_norm[:, -1:]
        if cache is not None:
            cache["past"] = total
        return F.linear(d_norm, self.e_token.weight)  # [B, T, 61]

    def new_cache(self, batch, capacity):
        """Room for `capacity` tokens; pass it as `cache`, it fills as forward runs."""
        like = next(self.parameters())
        return {"past": 0, "decoder": [layer.new_cache(batch, capacity, like) for layer in self.decoder]}

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.2041241452319315)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
