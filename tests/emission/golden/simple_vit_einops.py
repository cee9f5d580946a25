"""A plain ViT; patches are normalised before they are embedded, attention has no biases, the mean of all
patches is classified.

Beyer et al. 2022, Better plain ViT baselines for ImageNet-1k, with learned positions
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import nn


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


class SimpleVitOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class Attention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, 9, 24]
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24, bias=False)
        self.k = nn.Linear(24, 24, bias=False)
        self.v = nn.Linear(24, 24, bias=False)
        self.o = nn.Linear(24, 24, bias=False)

    def forward(self, x):
        q = self.q(x)  # [B, 9, 24]
        k = self.k(x)  # [B, 9, 24]
        v = self.v(x)  # [B, 9, 24]
        qh = rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, 9, 8]
        kh = rearrange(k, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, 9, 8]
        vh = rearrange(v, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, 9, 8]
        m = rearrange(attention(qh, kh, vh), "B heads T head_dim -> B T (heads head_dim)")  # [B, 9, 24]
        return self.o(m)  # [B, 9, 24]


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[B, 9, 24]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(24, 40)
        self.down = nn.Linear(40, 24)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))  # [B, 9, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, 9, 24]
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24)
        self.attn = Attention()
        self.ln_2 = nn.LayerNorm(24)
        self.mlp = Mlp()

    def forward(self, x):
        r_1 = x + self.attn(self.ln_1(x))  # [B, 9, 24]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, 9, 24]


class SimpleVit(nn.Module):
    """A plain ViT; patches are normalised before they are embedded, attention has no biases, the mean of all
    patches is classified.

    pixels: float[B, 3, 12, 12], labels: int[B]?
    """

    def __init__(self):
        super().__init__()
        self.seq = nn.LayerNorm(48)
        self.embed = nn.Linear(48, 24, bias=False)
        self.pos = nn.Parameter(torch.empty(9, 24))
        self.h = nn.ModuleList(PreNorm() for _ in range(2))
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 7)

    def forward(self, pixels, labels=None):
        head = self.head(self.encode(pixels))  # [B, 7]
        loss = F.cross_entropy(head, labels) if labels is not None else None  # []
        if loss is None:
            return head
        return SimpleVitOutput(logits=head, loss=loss)

    def encode(self, pixels):
        """The vector that the head classifies."""
        seq = self.seq(rearrange(pixels, "B c (h p) (w q) -> B (h w) (p q c)", h=3, w=3))  # [B, 9, 48]
        embed = self.embed(seq)  # [B, 9, 24]
        h = embed + self.pos  # [B, 9, 24]
        for layer in self.h:
            h = layer(h)
        return reduce(self.norm(h), "B n D -> B D", "mean")  # [B, 24]

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.pos, std=0.02)
