"""BERT's task without BERT's extras; no segments, no pooler, RMS norms before each sublayer, a tied head
without a bias.

Devlin et al. 2019, BERT (the task); Zhang and Sennrich 2019 (the norm); Xiong et al. 2020 (its place)
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


class MlmOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class Attention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 24], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24, bias=False)
        self.k = nn.Linear(24, 24, bias=False)
        self.v = nn.Linear(24, 24, bias=False)
        self.o = nn.Linear(24, 24)

    def forward(self, x, attend):
        qh = self.q(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        kh = self.k(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        vh = self.v(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        a = attention(qh, kh, vh, attend, dropout=0.1 if self.training else 0.0)  # [B, 3, T, 8]
        return self.o(a.transpose(1, 2).flatten(2))  # [B, T, 24]


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[B, T, 24]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(24, 40)
        self.down = nn.Linear(40, 24)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))  # [B, T, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, T, 24], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.RMSNorm(24, eps=1e-08)
        self.attn = Attention()
        self.ln_2 = nn.RMSNorm(24, eps=1e-08)
        self.mlp = Mlp()

    def forward(self, x, attend):
        r_1 = x + F.dropout(self.attn(self.ln_1(x), attend), 0.1, self.training)  # [B, T, 24]
        return r_1 + F.dropout(self.mlp(self.ln_2(r_1)), 0.1, self.training)  # [B, T, 24]


class Mlm(nn.Module):
    """BERT's task without BERT's extras; no segments, no pooler, RMS norms before each sublayer, a tied head
    without a bias.

    tokens: int[B, T], mask: bool[B, T]?, labels: int[B, T]?
    """

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(61, 24)
        self.place = nn.Embedding(24, 24)
        self.h = nn.ModuleList(PreNorm() for _ in range(2))
        self.last = nn.RMSNorm(24, eps=1e-08)

    def forward(self, tokens, mask=None, labels=None):
        if tokens.shape[1] > 24:
            raise ValueError(f"a sequence of {tokens.shape[1]} is too long, this model takes 24 at most")
        sum_ = self.token(tokens) + self.place(positions(tokens, None, 0))  # [B, T, 24]
        attend = mask[:, None, None, :] if mask is not None else None  # [B, 1, 1, T]
        h = F.dropout(sum_, 0.1, self.training)  # [B, T, 24]
        for layer in self.h:
            h = layer(h, attend)
        lm_head = F.linear(self.last(h), self.token.weight)  # [B, T, 61]
        loss = F.cross_entropy(lm_head.flatten(0, -2), labels.flatten()) if labels is not None else None  # []
        if loss is None:
            return lm_head
        return MlmOutput(logits=lm_head, loss=loss)

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
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
