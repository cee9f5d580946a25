"""Masked autoencoder; a ViT sees a quarter of the patches, a small decoder redraws the rest.

He et al. 2021, Masked Autoencoders Are Scalable Vision Learners
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


class VitMaeOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor
    mask: torch.Tensor


class SincosGrid(nn.Module):
    """Fixed vectors for the patches of a square grid; half of each tells the column, half the row, sines
    before cosines.

    He et al. 2021, MAE; the released model code

    table: float[9, D]
    """

    def __init__(self, size, D):
        super().__init__()
        self.size = size
        self.D = D

    def forward(self, table):
        n = torch.arange(9, device=table.device)  # [9]
        k = torch.arange(self.size, device=table.device).to(torch.float64)  # [_]
        w = n[:, None] % 3 / (10000 ** (4 * k / self.D))  # [9, _]
        h = n[:, None] // 3 / (10000 ** (4 * k / self.D))  # [9, _]
        return torch.cat((w.sin(), w.cos(), h.sin(), h.cos()), 1)  # [9, D]


class RandomMasking(nn.Module):
    """The patches of least noise, which of all were hidden, and the order that puts them back.

    He et al. 2021, section 3

    x: float[B, 9, 24], noise: float[B, 9]
    """

    def forward(self, x, noise):
        order = noise.argsort(stable=True, dim=1)  # [B, 9]
        restore = order.argsort(stable=True, dim=1)  # [B, 9]
        seen = x[torch.arange(x.shape[0], device=x.device)[:, None], order[:, :2]]  # [B, 2, 24]
        hidden = (restore >= 2).to(noise.dtype)  # [B, 9]
        return seen, hidden, restore


class Attention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, D]
    """

    def __init__(self, D, heads):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(D, D)
        self.k = nn.Linear(D, D)
        self.v = nn.Linear(D, D)
        self.o = nn.Linear(D, D)

    def forward(self, x):
        qh = self.q(x).unflatten(-1, (self.heads, 8)).transpose(1, 2)  # [B, heads, T, 8]
        kh = self.k(x).unflatten(-1, (self.heads, 8)).transpose(1, 2)  # [B, heads, T, 8]
        vh = self.v(x).unflatten(-1, (self.heads, 8)).transpose(1, 2)  # [B, heads, T, 8]
        return self.o(attention(qh, kh, vh).transpose(1, 2).flatten(2))  # [B, T, D]


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[B, _, D]
    """

    def __init__(self, D, hidden):
        super().__init__()
        self.up = nn.Linear(D, hidden)
        self.down = nn.Linear(hidden, D)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))  # [B, _, D]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, _, D]
    """

    def __init__(self, D, heads, out):
        super().__init__()
        self.ln_1 = nn.LayerNorm(D, eps=1e-12)
        self.attn = Attention(D=D, heads=heads)
        self.ln_2 = nn.LayerNorm(D, eps=1e-12)
        self.mlp = Mlp(D=D, hidden=out)

    def forward(self, x):
        r_1 = x + self.attn(self.ln_1(x))  # [B, _, D]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, _, D]


class VitMae(nn.Module):
    """Masked autoencoder; a ViT sees a quarter of the patches, a small decoder redraws the rest.

    pixels: float[B, 3, 12, 12], noise: float[B, 9]?
    """

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, stride=4)
        self.pos = nn.Parameter(torch.empty(9, 24), requires_grad=False)
        self.waves = SincosGrid(size=6, D=24)
        self.mask = RandomMasking()
        self.cls = nn.Parameter(torch.empty(1, 24))
        self.cls_pos = nn.Parameter(torch.empty(1, 24), requires_grad=False)
        self.h = nn.ModuleList(PreNorm(D=24, heads=3, out=40) for _ in range(2))
        self.norm = nn.LayerNorm(24, eps=1e-12)
        self.d_embed = nn.Linear(24, 16)
        self.blank = nn.Parameter(torch.empty(16))
        self.d_pos = nn.Parameter(torch.empty(9, 16), requires_grad=False)
        self.d_waves = SincosGrid(size=4, D=16)
        self.d_cls_pos = nn.Parameter(torch.empty(1, 16), requires_grad=False)
        self.decoder = nn.ModuleList(PreNorm(D=16, heads=2, out=28) for _ in range(3))
        self.d_norm = nn.LayerNorm(16, eps=1e-12)
        self.pred = nn.Linear(16, 48)

    def forward(self, pixels, noise=None):
        at = self.patches(pixels).permute(0, 2, 3, 1).flatten(1, 2) + self.pos  # [B, 9, 24]
        if noise is None:
            noise = torch.rand(pixels.shape[0], 9, device=at.device, dtype=at.dtype)  # [B, 9]
        mask_seen, mask_hidden, mask_restore = self.mask(at, noise)  # [B, 2, 24]
        h = torch.cat(((self.cls + self.cls_pos).expand(pixels.shape[0], -1, -1), mask_seen), 1)  # [B, 3, 24]
        for layer in self.h:
            h = layer(h)
        part_cls, part_seen = self.d_embed(self.norm(h)).split((1, 2), 1)  # [B, 1, 16]
        shuffled = torch.cat((part_seen, self.blank.expand(pixels.shape[0], 7, -1)), 1)  # [B, 9, 16]
        # [B, 9, 16]
        all_ = shuffled[torch.arange(pixels.shape[0], device=shuffled.device)[:, None], mask_restore]
        decoder = torch.cat((part_cls + self.d_cls_pos, all_ + self.d_pos), 1)  # [B, 10, 16]
        for layer in self.decoder:
            decoder = layer(decoder)
        logits = self.pred(self.d_norm(decoder))[:, 1:]  # [B, 9, 48]
        # [B, 9, 48]
        goal = (
            pixels.unflatten(-1, (3, 4))
            .unflatten(2, (3, 4))
            .permute(0, 2, 4, 3, 5, 1)
            .flatten(3)
            .flatten(1, 2)
        )
        mean = goal.mean(2, keepdim=True)  # [B, 9, 1]
        var = goal.var(2, correction=0, keepdim=True) * 48 / 47 + 1e-06  # [B, 9, 1]
        each = ((logits - ((goal - mean) / var.sqrt())) ** 2).mean(2)  # [B, 9]
        loss = torch.einsum("BN, BN -> ", each, mask_hidden) / mask_hidden.sum((0, 1))  # []
        return VitMaeOutput(logits=logits, loss=loss, mask=mask_hidden)

    def reconstruct(self, pixels, noise=None):
        """The image with its hidden patches redrawn."""
        at = self.patches(pixels).permute(0, 2, 3, 1).flatten(1, 2) + self.pos  # [B, 9, 24]
        if noise is None:
            noise = torch.rand(pixels.shape[0], 9, device=at.device, dtype=at.dtype)  # [B, 9]
        mask_seen, mask_hidden, mask_restore = self.mask(at, noise)  # [B, 2, 24]
        h = torch.cat(((self.cls + self.cls_pos).expand(pixels.shape[0], -1, -1), mask_seen), 1)  # [B, 3, 24]
        for layer in self.h:
            h = layer(h)
        part_cls, part_seen = self.d_embed(self.norm(h)).split((1, 2), 1)  # [B, 1, 16]
        shuffled = torch.cat((part_seen, self.blank.expand(pixels.shape[0], 7, -1)), 1)  # [B, 9, 16]
        # [B, 9, 16]
        all_ = shuffled[torch.arange(pixels.shape[0], device=shuffled.device)[:, None], mask_restore]
        decoder = torch.cat((part_cls + self.d_cls_pos, all_ + self.d_pos), 1)  # [B, 10, 16]
        for layer in self.decoder:
            decoder = layer(decoder)
        logits = self.pred(self.d_norm(decoder))[:, 1:]  # [B, 9, 48]
        # [B, 9, 48]
        goal = (
            pixels.unflatten(-1, (3, 4))
            .unflatten(2, (3, 4))
            .permute(0, 2, 4, 3, 5, 1)
            .flatten(3)
            .flatten(1, 2)
        )
        mean = goal.mean(2, keepdim=True)  # [B, 9, 1]
        var = goal.var(2, correction=0, keepdim=True) * 48 / 47 + 1e-06  # [B, 9, 1]
        redrawn = logits * var.sqrt() + mean  # [B, 9, 48]
        filled = mask_hidden[:, :, None] * redrawn + (1 - mask_hidden[:, :, None]) * goal  # [B, 9, 48]
        # [B, 3, 12, 12]
        picture = (
            filled.unflatten(-1, (4, 4, 3))
            .unflatten(1, (3, 3))
            .permute(0, 5, 1, 3, 2, 4)
            .flatten(4)
            .flatten(2, 3)
        )
        return picture  # [B, 3, 12, 12]

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.blank, std=0.02)
        nn.init.normal_(self.cls, std=0.02)
        nn.init.zeros_(self.cls_pos)
        nn.init.zeros_(self.d_cls_pos)
        self.d_pos.copy_(self.d_waves(self.d_pos))
        self.pos.copy_(self.waves(self.pos))
