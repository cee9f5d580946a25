"""Segmentation of a volume; a transformer reads its patches, a decoder of convolutions rebuilds the
resolution from four depths of it.

Hatamizadeh et al. 2021, UNETR: Transformers for 3D Medical Image Segmentation
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
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


class UnetrOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class Attention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, 8, 24]
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24, bias=False)
        self.k = nn.Linear(24, 24, bias=False)
        self.v = nn.Linear(24, 24, bias=False)
        self.o = nn.Linear(24, 24, bias=False)

    def forward(self, x):
        qh = self.q(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, 8, 8]
        kh = self.k(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, 8, 8]
        vh = self.v(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, 8, 8]
        return self.o(attention(qh, kh, vh).transpose(1, 2).flatten(2))  # [B, 8, 24]


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[B, 8, 24]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(24, 96)
        self.down = nn.Linear(96, 24)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))  # [B, 8, 24]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, 8, 24]
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24)
        self.attn = Attention()
        self.ln_2 = nn.LayerNorm(24)
        self.mlp = Mlp()

    def forward(self, x):
        r_1 = x + self.attn(self.ln_1(x))  # [B, 8, 24]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, 8, 24]


class ResidualConvTo(nn.Module):
    """The same with another number of channels at its end, to which what they read is brought as well.

    He et al. 2015, Deep Residual Learning, section 3.3

    x: float[B, C, H, H, H]
    """

    def __init__(self, C, out):
        super().__init__()
        self.conv_1 = nn.Conv3d(C, out, 3, padding=1)
        self.n_1 = nn.GroupNorm(out, out, affine=False)
        self.conv_2 = nn.Conv3d(out, out, 3, padding=1)
        self.n_2 = nn.GroupNorm(out, out, affine=False)
        self.conv_3 = nn.Conv3d(C, out, 1)
        self.n_3 = nn.GroupNorm(out, out, affine=False)

    def forward(self, x):
        conv_2 = self.conv_2(F.leaky_relu(self.n_1(self.conv_1(x))))  # [B, out, H, H, H]
        n_2 = self.n_2(conv_2)  # [B, out, H, H, H]
        conv_3 = self.conv_3(x)  # [B, out, H, H, H]
        n_3 = self.n_3(conv_3)  # [B, out, H, H, H]
        return F.leaky_relu(n_2 + n_3)  # [B, out, H, H, H]


class ResidualConv(nn.Module):
    """Two convolutions of a volume, each normalised channel by channel, added to what they read.

    He et al. 2015, Deep Residual Learning; Ulyanov et al. 2016, Instance Normalization

    x: float[B, C, H, H, H]
    """

    def __init__(self, out):
        super().__init__()
        self.conv_1 = nn.Conv3d(out, out, 3, padding=1)
        self.n_1 = nn.GroupNorm(out, out, affine=False)
        self.conv_2 = nn.Conv3d(out, out, 3, padding=1)
        self.n_2 = nn.GroupNorm(out, out, affine=False)

    def forward(self, x):
        sum_ = self.n_2(self.conv_2(F.leaky_relu(self.n_1(self.conv_1(x))))) + x  # [B, C, H, H, H]
        return F.leaky_relu(sum_)  # [B, C, H, H, H]


class UnetrDoubling(nn.Module):
    """Twice the resolution, then two convolutions.

    Hatamizadeh et al. 2021, figure 2, blue

    x: float[B, C, H, H, H]
    """

    def __init__(self, C):
        super().__init__()
        self.up = nn.ConvTranspose3d(C, C, 2, stride=2, bias=False)
        self.conv = ResidualConv(out=C)

    def forward(self, x):
        return self.conv(self.up(x))  # [B, C, _, _, _]


class Skip3UnetrSkip(nn.Module):
    """Tokens put back in their places, then doubled in resolution until they meet the decoder.

    Hatamizadeh et al. 2021, UNETR, figure 2, blue

    x: float[B, 8, 24]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose3d(24, 4, 2, stride=2, bias=False)
        self.up_2 = UnetrDoubling(C=4)
        self.up_3 = UnetrDoubling(C=4)

    def forward(self, x):
        up = self.up(x.unflatten(1, (2, 2, 2)).permute(0, 4, 1, 2, 3))  # [B, 4, 4, 4, 4]
        up_2 = self.up_2(up)  # [B, 4, 8, 8, 8]
        up_3 = self.up_3(up_2)  # [B, 4, 16, 16, 16]
        return up_3  # [B, 4, 16, 16, 16]


class Skip6UnetrSkip(nn.Module):
    """Tokens put back in their places, then doubled in resolution until they meet the decoder.

    Hatamizadeh et al. 2021, UNETR, figure 2, blue

    x: float[B, 8, 24]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose3d(24, 8, 2, stride=2, bias=False)
        self.up_2 = UnetrDoubling(C=8)

    def forward(self, x):
        return self.up_2(self.up(x.unflatten(1, (2, 2, 2)).permute(0, 4, 1, 2, 3)))  # [B, 8, 8, 8, 8]


class Skip9UnetrSkip(nn.Module):
    """Tokens put back in their places, then doubled in resolution until they meet the decoder.

    Hatamizadeh et al. 2021, UNETR, figure 2, blue

    x: float[B, 8, 24]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose3d(24, 16, 2, stride=2, bias=False)

    def forward(self, x):
        return self.up(x.unflatten(1, (2, 2, 2)).permute(0, 4, 1, 2, 3))  # [B, 16, 4, 4, 4]


class UnetrJoin(nn.Module):
    """What the decoder has so far at twice the resolution, beside what the encoder knew there, and two
    convolutions.

    Hatamizadeh et al. 2021, figure 2, green and yellow

    x: float[B, C, H, H, H], skip: float[B, out, _, _, _]
    """

    def __init__(self, C, out, channels):
        super().__init__()
        self.up = nn.ConvTranspose3d(C, out, 2, stride=2)
        self.conv = ResidualConvTo(C=channels, out=out)

    def forward(self, x, skip):
        return self.conv(torch.cat((self.up(x), skip), 1))  # [B, out, _, _, _]


class Unetr(nn.Module):
    """Segmentation of a volume; a transformer reads its patches, a decoder of convolutions rebuilds the
    resolution from four depths of it.

    volume: float[B, 2, 32, 32, 32], labels: int[B, 32, 32, 32]?
    """

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv3d(2, 24, 16, stride=16, bias=False)
        self.place = nn.Parameter(torch.empty(8, 24))
        self.h = nn.ModuleList(PreNorm() for _ in range(12))
        self.skip_0 = ResidualConvTo(C=2, out=2)
        self.skip_3 = Skip3UnetrSkip()
        self.skip_6 = Skip6UnetrSkip()
        self.skip_9 = Skip9UnetrSkip()
        self.join_9 = UnetrJoin(C=24, out=16, channels=32)
        self.join_6 = UnetrJoin(C=16, out=8, channels=16)
        self.join_3 = UnetrJoin(C=8, out=4, channels=8)
        self.join_0 = UnetrJoin(C=4, out=2, channels=4)
        self.logits = nn.Conv3d(2, 5, 1)

    def forward(self, volume, labels=None):
        h_y = self.patches(volume).permute(0, 2, 3, 4, 1).flatten(1, 3) + self.place  # [B, 8, 24]
        every_h_y = []
        for layer in self.h:
            h_y = layer(h_y)
            every_h_y.append(h_y)
        h_2 = every_h_y[2]
        h_5 = every_h_y[5]
        h_8 = every_h_y[8]
        skip_0 = self.skip_0(volume)  # [B, 2, 32, 32, 32]
        skip_3 = self.skip_3(h_2)  # [B, 4, 16, 16, 16]
        skip_6 = self.skip_6(h_5)  # [B, 8, 8, 8, 8]
        skip_9 = self.skip_9(h_8)  # [B, 16, 4, 4, 4]
        deep = h_y.unflatten(1, (2, 2, 2)).permute(0, 4, 1, 2, 3)  # [B, 24, 2, 2, 2]
        join_9 = self.join_9(deep, skip_9)  # [B, 16, 4, 4, 4]
        join_6 = self.join_6(join_9, skip_6)  # [B, 8, 8, 8, 8]
        join_3 = self.join_3(join_6, skip_3)  # [B, 4, 16, 16, 16]
        join_0 = self.join_0(join_3, skip_0)  # [B, 2, 32, 32, 32]
        logits = self.logits(join_0)  # [B, 5, 32, 32, 32]
        scores = logits.permute(0, 2, 3, 4, 1)  # [B, 32, 32, 32, 5]
        loss = F.cross_entropy(scores.flatten(0, -2), labels.flatten()) if labels is not None else None  # []
        if loss is None:
            return logits
        return UnetrOutput(logits=logits, loss=loss)

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.ConvTranspose3d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.place, std=0.02)
