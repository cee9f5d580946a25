"""Encoder-decoder that writes down speech; the encoder hears log-mel frames through two convolutions.

Radford et al. 2022, Robust Speech Recognition via Large-Scale Weak Supervision
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


class WhisperOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class EncoderAttentionWithoutKeyBias(nn.Module):
    """Attention whose keys have no bias; one would add the same to all of a query's scores.

    Radford et al. 2022, released model code

    x: float[B, 20, 24]
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24, bias=False)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x):
        qh = self.q(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, 20, 8]
        kh = self.k(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, 20, 8]
        vh = self.v(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, 20, 8]
        return self.o(attention(qh, kh, vh).transpose(1, 2).flatten(2))  # [B, 20, 24]


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
        return self.down(F.gelu(self.up(x)))  # [B, _, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, 20, 24]
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24)
        self.attn = EncoderAttentionWithoutKeyBias()
        self.ln_2 = nn.LayerNorm(24)
        self.mlp = Mlp(hidden=40)

    def forward(self, x):
        r_1 = x + self.attn(self.ln_1(x))  # [B, 20, 24]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, 20, 24]


class DecoderAttentionWithoutKeyBias(nn.Module):
    """Attention whose keys have no bias; one would add the same to all of a query's scores.

    Radford et al. 2022, released model code

    x: float[B, T, 24], visible: bool[1, 1, T, K]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24, bias=False)
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


class CrossAttentionWithoutKeyBias(nn.Module):
    """Cross-attention whose keys have no bias.

    Radford et al. 2022, released model code

    x: float[B, T, 24], memory: float[B, 20, 24]
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24, bias=False)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x, memory, cache):
        if cache is None or cache["kv"] is None:
            kh = self.k(memory).unflatten(-1, (2, 12)).transpose(1, 2)  # [B, 2, 20, 12]
            vh = self.v(memory).unflatten(-1, (2, 12)).transpose(1, 2)  # [B, 2, 20, 12]
            kv_k, kv_v = kh, vh  # [B, 2, 20, 12]
            if cache is not None:
                cache["kv"] = [kv_k, kv_v]
        else:
            kv_k, kv_v = cache["kv"]
        a = attention(self.q(x).unflatten(-1, (2, 12)).transpose(1, 2), kv_k, kv_v)  # [B, 2, T, 12]
        return self.o(a.transpose(1, 2).flatten(2))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {"kv": None}


class PreNormDecoder(nn.Module):
    """A layer of a decoder that also reads an encoder, normalised before each sublayer.

    Vaswani et al. 2017, section 3.1; Xiong et al. 2020

    x: float[B, T, 24], memory: float[B, 20, 24], visible: bool[1, 1, T, K]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24)
        self.attn = DecoderAttentionWithoutKeyBias()
        self.ln_2 = nn.LayerNorm(24)
        self.cross = CrossAttentionWithoutKeyBias()
        self.ln_3 = nn.LayerNorm(24)
        self.mlp = Mlp(hidden=56)

    def forward(self, x, memory, visible, past, cache):
        r_1 = x + self.attn(self.ln_1(x), visible, past, cache and cache["attn"])  # [B, T, 24]
        r_2 = r_1 + self.cross(self.ln_2(r_1), memory, cache and cache["cross"])  # [B, T, 24]
        return r_2 + self.mlp(self.ln_3(r_2))  # [B, T, 24]

    def new_cache(self, batch, capacity, like):
        return {
            "attn": self.attn.new_cache(batch, capacity, like),
            "cross": self.cross.new_cache(batch, capacity, like),
        }


class Whisper(nn.Module):
    """Encoder-decoder that writes down speech; the encoder hears log-mel frames through two convolutions.

    source: float[B, 5, 40], labels: int[B, T]?, target: int[B, T]?
    """

    def __init__(self):
        super().__init__()
        self.conv_1 = nn.Conv1d(5, 24, 3, padding=1)
        self.conv_2 = nn.Conv1d(24, 24, 3, stride=2, padding=1)
        self.e_place = nn.Parameter(torch.empty(20, 24), requires_grad=False)
        self.encoder = nn.ModuleList(PreNorm() for _ in range(2))
        self.memory = nn.LayerNorm(24)
        self.token = nn.Embedding(61, 24)
        self.d_place = nn.Embedding(24, 24)
        self.decoder = nn.ModuleList(PreNormDecoder() for _ in range(3))
        self.d_norm = nn.LayerNorm(24)

    def forward(self, source, labels=None, target=None, cache=None, last=False):
        past = 0 if cache is None else cache["past"]
        memory = self.encode(source)  # [B, 20, 24]
        shifted = F.pad(labels, (1, -1), value=2) if labels is not None else None  # [B, T]
        if target is None:
            target = shifted  # [B, T]
        if target is None:
            raise ValueError("give target or labels")
        total = past + target.shape[1]
        if total > 24:
            raise ValueError(f"a sequence of {total} is too long, this model takes 24 at most")
        token = self.token(torch.where(target == -100, 1, target))  # [B, T, 24]
        d_place = self.d_place(positions(target, None, past))  # [B, T, 24]
        visible = causal_mask(None, target, past)  # [1, 1, T, K]
        decoder = token + d_place  # [B, T, 24]
        for i, layer in enumerate(self.decoder):
            decoder = layer(decoder, memory, visible, past, cache and cache["decoder"][i])
        if last:
            decoder = decoder[:, -1:]
        lm_head = F.linear(self.d_norm(decoder), self.token.weight)  # [B, T, 61]
        loss = F.cross_entropy(lm_head.flatten(0, -2), labels.flatten()) if labels is not None else None  # []
        if cache is not None:
            cache["past"] = total
        if loss is None:
            return lm_head
        return WhisperOutput(logits=lm_head, loss=loss)

    def encode(self, source):
        """What the decoder reads."""
        e_sum = F.gelu(self.conv_2(F.gelu(self.conv_1(source)))).transpose(1, 2) + self.e_place  # [B, 20, 24]
        encoder = e_sum  # [B, 20, 24]
        for layer in self.encoder:
            encoder = layer(encoder)
        return self.memory(encoder)  # [B, 20, 24]

    def decode(self, memory, labels=None, target=None, cache=None, last=False):
        """The decoder, given what the encoder made."""
        past = 0 if cache is None else cache["past"]
        shifted = F.pad(labels, (1, -1), value=2) if labels is not None else None  # [B, T]
        if target is None:
            target = shifted  # [B, T]
        if target is None:
            raise ValueError("give target or labels")
        total = past + target.shape[1]
        if total > 24:
            raise ValueError(f"a sequence of {total} is too long, this model takes 24 at most")
        token = self.token(torch.where(target == -100, 1, target))  # [B, T, 24]
        d_place = self.d_place(positions(target, None, past))  # [B, T, 24]
        visible = causal_mask(None, target, past)  # [1, 1, T, K]
        decoder = token + d_place  # [B, T, 24]
        for i, layer in enumerate(self.decoder):
            decoder = layer(decoder, memory, visible, past, cache and cache["decoder"][i])
        if last:
            decoder = decoder[:, -1:]
        if cache is not None:
            cache["past"] = total
        return F.linear(self.d_norm(decoder), self.token.weight)  # [B, T, 61]

    def new_cache(self, batch, capacity):
        """Room for `capacity` tokens; pass it as `cache`, it fills as forward runs."""
        like = next(self.parameters())
        return {"past": 0, "decoder": [layer.new_cache(batch, capacity, like) for layer in self.decoder]}

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.normal_(self.e_place, std=0.02)
