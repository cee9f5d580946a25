"""Encoder-decoder with relative-position buckets shared by all layers of a stack, unscaled attention, and
pre-norm.

Raffel et al. 2020, Exploring the Limits of Transfer Learning; v1.1, gated and untied, is the default
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


def biased_attention(q, k, v, bias, mask=None, causal=False, scale=None, grouped=False, dropout=0.0):
    """attention(...) with a bias [B or 1, heads or 1, T or 1, K] added to the scores before the softmax."""
    if causal and mask is None and q.shape[2] > 1:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(
            k.shape[2] - q.shape[2]
        )
    bias = bias.to(q.dtype)
    if mask is not None:
        bias = bias.masked_fill(~mask, float("-inf"))
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, scale=scale, enable_gqa=grouped, dropout_p=dropout
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


class T5Output(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class EBiasT5Bias(nn.Module):
    """A learned score for each distance between query and key, far distances sharing buckets of growing
    width.

    Raffel et al. 2020, section 2.1; the released model code

    q: int[T], k: int[T]
    """

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, 3)

    def forward(self, q, k):
        d = k - q[:, None]  # [T, T]
        a = d.abs()  # [T, T]
        far = (2 + ((a.clamp(min=1).float() / 2).log() / 2.302585092994046 * 2).long()).clamp(max=3)  # [T, T]
        table = self.table(torch.where(a < 2, a, far) + torch.where(d > 0, 4, 0))  # [T, T, 3]
        return table.permute(2, 0, 1).unsqueeze(0)  # [1, 3, T, T]


class EncoderAttention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 24], score_bias: float[1, 3, T, T], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 36, bias=False)
        self.k = nn.Linear(24, 36, bias=False)
        self.v = nn.Linear(24, 36, bias=False)
        self.o = nn.Linear(36, 24, bias=False)

    def forward(self, x, score_bias, attend):
        qh = self.q(x).unflatten(-1, (3, 12)).transpose(1, 2)  # [B, 3, T, 12]
        kh = self.k(x).unflatten(-1, (3, 12)).transpose(1, 2)  # [B, 3, T, 12]
        vh = self.v(x).unflatten(-1, (3, 12)).transpose(1, 2)  # [B, 3, T, 12]
        # [B, 3, T, 12]
        a = biased_attention(qh, kh, vh, score_bias, attend, scale=1.0, dropout=0.1 if self.training else 0.0)
        return self.o(a.transpose(1, 2).flatten(2))  # [B, T, 24]


class GatedMlp(nn.Module):
    """An MLP whose activation gates a second linear map (SwiGLU with silu).

    Shazeer 2020, GLU Variants Improve Transformer

    x: float[B, _, 24]
    """

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(24, 40, bias=False)
        self.up = nn.Linear(24, 40, bias=False)
        self.down = nn.Linear(40, 24, bias=False)

    def forward(self, x):
        g = F.gelu(self.gate(x), approximate="tanh") * self.up(x)  # [B, _, 40]
        return self.down(F.dropout(g, 0.1, self.training))  # [B, _, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, S, 24], e_bias: float[1, 3, S, S], source_mask_attend: bool[B, 1, 1, S]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.RMSNorm(24, eps=1e-06)
        self.attn = EncoderAttention()
        self.ln_2 = nn.RMSNorm(24, eps=1e-06)
        self.mlp = GatedMlp()

    def forward(self, x, e_bias, source_mask_attend):
        d_1 = F.dropout(self.attn(self.ln_1(x), e_bias, source_mask_attend), 0.1, self.training)  # [B, S, 24]
        r_1 = x + d_1  # [B, S, 24]
        return r_1 + F.dropout(self.mlp(self.ln_2(r_1)), 0.1, self.training)  # [B, S, 24]


class DBiasT5Bias(nn.Module):
    """A learned score for each distance between query and key, far distances sharing buckets of growing
    width.

    Raffel et al. 2020, section 2.1; the released model code

    q: int[T], k: int[K]
    """

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, 3)

    def forward(self, q, k):
        a = (-(k - q[:, None])).clamp(min=0)  # [T, K]
        # [T, K]
        far = (4 + ((a.clamp(min=1).float() / 4).log() / 1.6094379124341003 * 4).long()).clamp(max=7)
        return self.table(torch.where(a < 4, a, far)).permute(2, 0, 1).unsqueeze(0)  # [1, 3, T, K]


class DecoderAttention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 24], score_bias: float[1, 3, T, K], visible: bool[1, 1, T, K]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 36, bias=False)
        self.k = nn.Linear(24, 36, bias=False)
        self.v = nn.Linear(24, 36, bias=False)
        self.o = nn.Linear(36, 24, bias=False)

    def forward(self, x, score_bias, visible, past, cache):
        qh = self.q(x).unflatten(-1, (3, 12)).transpose(1, 2)  # [B, 3, T, 12]
        kh = self.k(x).unflatten(-1, (3, 12)).transpose(1, 2)  # [B, 3, T, 12]
        vh = self.v(x).unflatten(-1, (3, 12)).transpose(1, 2)  # [B, 3, T, 12]
        kv_k, kv_v = append(cache, "kv", past, 2, kh, vh)  # [B, 3, K, 12]
        # [B, 3, T, 12]
        a = biased_attention(
            qh, kv_k, kv_v, score_bias, visible, causal=True, scale=1.0, dropout=0.1 if self.training else 0.0
        )
        return self.o(a.transpose(1, 2).flatten(2))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": [like.new_empty(batch, 3, capacity, 12), like.new_empty(batch, 3, capacity, 12)]}


class CrossAttention(nn.Module):
    """Attention from one sequence to another, whose keys and values are computed once and kept.

    Vaswani et al. 2017, section 3.2.3

    x: float[B, T, 24], memory: float[B, S, 24], attend: bool[B, 1, 1, S]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 36, bias=False)
        self.k = nn.Linear(24, 36, bias=False)
        self.v = nn.Linear(24, 36, bias=False)
        self.o = nn.Linear(36, 24, bias=False)

    def forward(self, x, memory, attend, cache):
        qh = self.q(x).unflatten(-1, (3, 12)).transpose(1, 2)  # [B, 3, T, 12]
        if cache is None or cache["kv"] is None:
            kh = self.k(memory).unflatten(-1, (3, 12)).transpose(1, 2)  # [B, 3, S, 12]
            vh = self.v(memory).unflatten(-1, (3, 12)).transpose(1, 2)  # [B, 3, S, 12]
            kv_k, kv_v = kh, vh  # [B, 3, S, 12]
            if cache is not None:
                cache["kv"] = [kv_k, kv_v]
        else:
            kv_k, kv_v = cache["kv"]
        # [B, 3, T, 12]
        a = attention(qh, kv_k, kv_v, attend, scale=1.0, dropout=0.1 if self.training else 0.0)
        return self.o(a.transpose(1, 2).flatten(2))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": None}


class PreNormDecoder(nn.Module):
    """A layer of a decoder that also reads an encoder, normalised before each sublayer.

    Vaswani et al. 2017, section 3.1; Xiong et al. 2020

    x: float[B, T, 24], d_bias: float[1, 3, T, K], memory: float[B, S, 24], visible: bool[1, 1, T, K]?,
    source_mask_attend: bool[B, 1, 1, S]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.RMSNorm(24, eps=1e-06)
        self.attn = DecoderAttention()
        self.ln_2 = nn.RMSNorm(24, eps=1e-06)
        self.cross = CrossAttention()
        self.ln_3 = nn.RMSNorm(24, eps=1e-06)
        self.mlp = GatedMlp()

    def forward(self, x, d_bias, memory, visible, source_mask_attend, past, cache):
        attn = self.attn(self.ln_1(x), d_bias, visible, past, cache and cache["attn"])  # [B, T, 24]
        r_1 = x + F.dropout(attn, 0.1, self.training)  # [B, T, 24]
        cross = self.cross(self.ln_2(r_1), memory, source_mask_attend, cache and cache["cross"])  # [B, T, 24]
        r_2 = r_1 + F.dropout(cross, 0.1, self.training)  # [B, T, 24]
        return r_2 + F.dropout(self.mlp(self.ln_3(r_2)), 0.1, self.training)  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {
            "attn": self.attn.new_cache(batch, capacity, like),
            "cross": self.cross.new_cache(batch, capacity, like),
        }


class T5(nn.Module):
    """Encoder-decoder with relative-position buckets shared by all layers of a stack, unscaled attention, and
    pre-norm.

    source: int[B, S], source_mask: bool[B, S]?, labels: int[B, T]?, target: int[B, T]?
    """

    def __init__(self):
        super().__init__()
        self.shared = nn.Embedding(61, 24)
        self.e_bias = EBiasT5Bias()
        self.encoder = nn.ModuleList(PreNorm() for _ in range(2))
        self.e_norm = nn.RMSNorm(24, eps=1e-06)
        self.d_bias = DBiasT5Bias()
        self.decoder = nn.ModuleList(PreNormDecoder() for _ in range(3))
        self.d_norm = nn.RMSNorm(24, eps=1e-06)
        self.lm_head = nn.Linear(24, 61, bias=False)

    def forward(self, source, source_mask=None, labels=None, target=None, cache=None, last=False):
        past = 0 if cache is None else cache["past"]
        e_pos_t = torch.arange(source.shape[1], device=source.device)  # [S]
        e_pos_k = torch.arange(source.shape[1], device=source.device)  # [S]
        e_bias = self.e_bias(e_pos_t, e_pos_k)  # [1, 3, S, S]
        # [B, 1, 1, S]
        source_mask_attend = source_mask[:, None, None, :] if source_mask is not None else None
        encoder = F.dropout(self.shared(source), 0.1, self.training)  # [B, S, 24]
        for layer in self.encoder:
            encoder = layer(encoder, e_bias, source_mask_attend)
        memory = F.dropout(self.e_norm(encoder), 0.1, self.training)  # [B, S, 24]
        shifted = F.pad(labels, (1, -1)) if labels is not None else None  # [B, T]
        if target is None:
            target = shifted  # [B, T]
        if target is None:
            raise ValueError("give target or labels")
        total = past + target.shape[1]
        d_embed = self.shared(torch.where(target == -100, 0, target))  # [B, T, 24]
        d_pos_t = torch.arange(past, past + target.shape[1], device=target.device)  # [T]
        d_pos_k = torch.arange(past + target.shape[1], device=target.device)  # [K]
        d_bias = self.d_bias(d_pos_t, d_pos_k)  # [1, 3, T, K]
        visible = causal_mask(None, target, past)  # [1, 1, T, K]
        decoder = F.dropout(d_embed, 0.1, self.training)  # [B, T, 24]
        for i, layer in enumerate(self.decoder):
            decoder = layer(
                decoder, d_bias, memory, visible, source_mask_attend, past, cache and cache["decoder"][i]
            )
        if last:
            decoder = decoder[:, -1:]
        lm_head = self.lm_head(F.dropout(self.d_norm(decoder), 0.1, self.training))  # [B, T, 61]
        loss = F.cross_entropy(lm_head.flatten(0, -2), labels.flatten()) if labels is not None else None  # []
        if cache is not None:
            cache["past"] = total
        if loss is None:
            return lm_head
        return T5Output(logits=lm_head, loss=loss)

    def encode(self, source, source_mask=None):
        """What the decoder reads."""
        e_pos_t = torch.arange(source.shape[1], device=source.device)  # [S]
        e_pos_k = torch.arange(source.shape[1], device=source.device)  # [S]
        e_bias = self.e_bias(e_pos_t, e_pos_k)  # [1, 3, S, S]
        # [B, 1, 1, S]
        source_mask_attend = source_mask[:, None, None, :] if source_mask is not None else None
        encoder = F.dropout(self.shared(source), 0.1, self.training)  # [B, S, 24]
        for layer in self.encoder:
            encoder = layer(encoder, e_bias, source_mask_attend)
        return F.dropout(self.e_norm(encoder), 0.1, self.training)  # [B, S, 24]

    def decode(self, memory, source_mask=None, labels=None, target=None, cache=None, last=False):
        """One step of the decoder, given what the encoder made."""
        past = 0 if cache is None else cache["past"]
        # [B, 1, 1, S]
        source_mask_attend = source_mask[:, None, None, :] if source_mask is not None else None
        shifted = F.pad(labels, (1, -1)) if labels is not None else None  # [B, T]
        if target is None:
            target = shifted  # [B, T]
        if target is None:
            raise ValueError("give target or labels")
        total = past + target.shape[1]
        d_embed = self.shared(torch.where(target == -100, 0, target))  # [B, T, 24]
        d_pos_t = torch.arange(past, past + target.shape[1], device=target.device)  # [T]
        d_pos_k = torch.arange(past + target.shape[1], device=target.device)  # [K]
        d_bias = self.d_bias(d_pos_t, d_pos_k)  # [1, 3, T, K]
        visible = causal_mask(None, target, past)  # [1, 1, T, K]
        decoder = F.dropout(d_embed, 0.1, self.training)  # [B, T, 24]
        for i, layer in enumerate(self.decoder):
            decoder = layer(
                decoder, d_bias, memory, visible, source_mask_attend, past, cache and cache["decoder"][i]
            )
        if last:
            decoder = decoder[:, -1:]
        if cache is not None:
            cache["past"] = total
        return self.lm_head(F.dropout(self.d_norm(decoder), 0.1, self.training))  # [B, T, 61]

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
            elif isinstance(module, nn.RMSNorm):
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
