"""ViT trained without labels; each sublayer is scaled channel by channel, hidden patches show a learned
token.

Oquab et al. 2023, DINOv2: Learning Robust Visual Features without Supervision
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
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


class Dinov2Output(NamedTuple):
    hidden: torch.Tensor
    pooled: torch.Tensor


class Attention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, 10, 24]
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x):
        q = self.q(x)  # [B, 10, 24]
        k = self.k(x)  # [B, 10, 24]
        v = self.v(x)  # [B, 10, 24]
        qh = rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, 10, 8]
        kh = rearrange(k, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, 10, 8]
        vh = rearrange(v, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, 10, 8]
        m = rearrange(attention(qh, kh, vh), "B heads T head_dim -> B T (heads head_dim)")  # [B, 10, 24]
        return self.o(m)  # [B, 10, 24]


class AttnLayerScale(nn.Module):
    """A sublayer whose output is scaled channel by channel.

    Touvron et al. 2021, Going Deeper with Image Transformers

    x: float[B, 10, 24]
    """

    def __init__(self):
        super().__init__()
        self.inner = Attention()
        self.scale = nn.Parameter(torch.empty(24))

    def forward(self, x):
        return self.inner(x) * self.scale  # [B, 10, 24]


class GatedMlp(nn.Module):
    """An MLP whose activation gates a second linear map (SwiGLU with silu).

    Shazeer 2020, GLU Variants Improve Transformer

    x: float[B, 10, 24]
    """

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(24, 32)
        self.up = nn.Linear(24, 32)
        self.down = nn.Linear(32, 24)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))  # [B, 10, 24]


class MlpLayerScale(nn.Module):
    """A sublayer whose output is scaled channel by channel.

    Touvron et al. 2021, Going Deeper with Image Transformers

    x: float[B, 10, 24]
    """

    def __init__(self):
        super().__init__()
        self.inner = GatedMlp()
        self.scale = nn.Parameter(torch.empty(24))

    def forward(self, x):
        return self.inner(x) * self.scale  # [B, 10, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, 10, 24]
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24, eps=1e-06)
        self.attn = AttnLayerScale()
        self.ln_2 = nn.LayerNorm(24, eps=1e-06)
        self.mlp = MlpLayerScale()

    def forward(self, x):
        r_1 = x + self.attn(self.ln_1(x))  # [B, 10, 24]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, 10, 24]


class Dinov2(nn.Module):
    """ViT trained without labels; each sublayer is scaled channel by channel, hidden patches show a learned
    token.

    pixels: float[B, 3, 12, 12], masked: bool[B, 9]?
    """

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, stride=4)
        self.token = nn.Parameter(torch.empty(24))
        self.pos = nn.Parameter(torch.empty(9, 24))
        self.cls = nn.Parameter(torch.empty(1, 24))
        self.cls_pos = nn.Parameter(torch.empty(1, 24))
        self.h = nn.ModuleList(PreNorm() for _ in range(2))
        self.norm = nn.LayerNorm(24, eps=1e-06)

    def forward(self, pixels, masked=None):
        seq = rearrange(self.patches(pixels), "B D h w -> B (h w) D")  # [B, 9, 24]
        token = self.token  # [24]
        shown = torch.where(masked[:, :, None], token, seq) if masked is not None else seq  # [B, 9, 24]
        at = shown + self.pos  # [B, 9, 24]
        cls_all = repeat(self.cls + self.cls_pos, "n D -> B n D", B=pixels.shape[0])  # [B, 1, 24]
        h = torch.cat((cls_all, at), 1)  # [B, 10, 24]
        for layer in self.h:
            h = layer(h)
        norm = self.norm(h)  # [B, 10, 24]
        pool = norm[:, 0]  # [B, 24]
        return Dinov2Output(hidden=norm, pooled=pool)

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.cls, std=0.02)
        nn.init.normal_(self.cls_pos, std=0.02)
        nn.init.normal_(self.pos, std=0.02)
        nn.init.zeros_(self.token)
        for layer in self.h:
            nn.init.constant_(layer.attn.scale, 1.0)
            nn.init.constant_(layer.mlp.scale, 1.0)
