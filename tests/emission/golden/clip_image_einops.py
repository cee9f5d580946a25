"""The image tower of CLIP alone, up to the space that it shares with the text tower.

Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
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


def quick_gelu(x):
    """x sigmoid(1.702 x), the approximation of GELU that CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


class ClipImageOutput(NamedTuple):
    hidden: torch.Tensor
    image_features: torch.Tensor
    image_embed: torch.Tensor


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


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[B, 10, 24]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(24, 96)
        self.down = nn.Linear(96, 24)

    def forward(self, x):
        return self.down(quick_gelu(self.up(x)))  # [B, 10, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, 10, 24]
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24)
        self.attn = Attention()
        self.ln_2 = nn.LayerNorm(24)
        self.mlp = Mlp()

    def forward(self, x):
        r_1 = x + self.attn(self.ln_1(x))  # [B, 10, 24]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, 10, 24]


class Tower(nn.Module):
    """Pre-norm layers of one width.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, 10, 24]
    """

    def __init__(self):
        super().__init__()
        self.h = nn.ModuleList(PreNorm() for _ in range(2))

    def forward(self, x):
        h = x  # [B, 10, 24]
        for layer in self.h:
            h = layer(h)
        return h  # [B, 10, 24]


class L2Normalize(nn.Module):
    """Vectors of length one.

    x: float[B, 20]
    """

    def forward(self, x):
        return x / reduce(x * x, "B D -> B 1", "sum").sqrt()  # [B, 20]


class ClipImage(nn.Module):
    """The image tower of CLIP alone, up to the space that it shares with the text tower.

    pixels: float[B, 3, 12, 12]
    """

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, stride=4, bias=False)
        self.cls = nn.Parameter(torch.empty(24))
        self.v_pos = nn.Parameter(torch.empty(10, 24))
        self.v_pre = nn.LayerNorm(24)
        self.visual = Tower()
        self.v_post = nn.LayerNorm(24)
        self.v_proj = nn.Linear(24, 20, bias=False)
        self.v = L2Normalize()

    def forward(self, pixels):
        seq = rearrange(self.patches(pixels), "B D h w -> B (h w) D")  # [B, 9, 24]
        cls_all = repeat(self.cls, "D -> B 1 D", B=pixels.shape[0])  # [B, 1, 24]
        visual = self.visual(self.v_pre(torch.cat((cls_all, seq), 1) + self.v_pos))  # [B, 10, 24]
        v_proj = self.v_proj(self.v_post(visual[:, 0]))  # [B, 20]
        v = self.v(v_proj)  # [B, 20]
        return ClipImageOutput(hidden=visual, image_features=v_proj, image_embed=v)

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.cls, std=0.2041241452319315)
        nn.init.normal_(self.v_pos, std=0.2041241452319315)
