"""Encoder whose attention scores content against content and content against relative position, each by its
own vectors.

He et al. 2020, DeBERTa; He et al. 2021, DeBERTaV3
"""

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import nn


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


class RealTokens(nn.Module):
    """Padding set to zero.

    x: float[B, T, 24], mask: bool[B, T]?
    """

    def forward(self, x, mask):
        y = torch.where(mask[:, :, None], x, 0) if mask is not None else x  # [B, T, 24]
        return y  # [B, T, 24]


class LogDistance(nn.Module):
    """The distance from key to query, shifted to count from 0; exact up to span / 2, beyond that in steps
    that grow.

    He et al. 2021, DeBERTaV3; the released model code of DeBERTa v2

    pos: int[T]
    """

    def forward(self, pos):
        d = pos[:, None] - pos  # [T, T]
        far = ((d.abs().clamp(min=2).float() / 2).log() / 2.0149030205422647 * 1).ceil() + 2  # [T, T]
        return (torch.where(d.abs() <= 2, d, (far * d.sign()).long()) + 4).clamp(0, 7)  # [T, T]


class DisentangledAttention(nn.Module):
    """Attention whose scores are content to content, content to position and position to content; one set of
    maps makes the queries and keys of both.

    He et al. 2020, DeBERTa, equation 4

    x: float[B, T, 24], rel: float[8, 24], place: int[T, T], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x, rel, place, attend):
        r = F.dropout(rel, 0.1, self.training)  # [8, 24]
        qh = rearrange(self.q(x), "B T (heads d) -> B heads T d", heads=3)  # [B, 3, T, 8]
        kh = rearrange(self.k(x), "B T (heads d) -> B heads T d", heads=3)  # [B, 3, T, 8]
        vh = rearrange(self.v(x), "B T (heads d) -> B heads T d", heads=3)  # [B, 3, T, 8]
        pqh = rearrange(self.q(r), "R (heads d) -> heads R d", heads=3)  # [3, 8, 8]
        pkh = rearrange(self.k(r), "R (heads d) -> heads R d", heads=3)  # [3, 8, 8]
        c2p = einsum(qh, pkh, "B h T d, h R d -> B h T R")  # [B, 3, T, 8]
        p2c = einsum(kh, pqh, "B h S d, h R d -> B h S R")  # [B, 3, T, 8]
        at_q = c2p[:, :, torch.arange(x.shape[1], device=c2p.device)[:, None], place]  # [B, 3, T, T]
        at_k = p2c[:, :, torch.arange(x.shape[1], device=p2c.device), place]  # [B, 3, T, T]
        bias = (at_q + at_k) * 0.2041241452319315  # [B, 3, T, T]
        # [B, 3, T, 8]
        a = biased_attention(
            qh, kh, vh, bias, attend, scale=0.2041241452319315, dropout=0.1 if self.training else 0.0
        )
        return self.o(rearrange(a, "B heads T d -> B T (heads d)"))  # [B, T, 24]


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


class ConvolvedPostNorm(nn.Module):
    """A post-norm layer to whose output a convolution over its input is added, if it has a kernel.

    He et al. 2021, DeBERTaV3; the released model code of DeBERTa v2

    x: float[B, T, 24], mask: bool[B, T]?, rel: float[8, 24], place: int[T, T], mask_2_attend: bool[B, 1,
    1, T]?
    """

    def __init__(self):
        super().__init__()
        self.attn = DisentangledAttention()
        self.ln_1 = nn.LayerNorm(24, eps=1e-07)
        self.mlp = Mlp()
        self.ln_2 = nn.LayerNorm(24, eps=1e-07)

    def forward(self, x, mask, rel, place, mask_2_attend):
        r_1 = x + F.dropout(self.attn(x, rel, place, mask_2_attend), 0.1, self.training)  # [B, T, 24]
        ln_1 = self.ln_1(r_1)  # [B, T, 24]
        return self.ln_2(ln_1 + F.dropout(self.mlp(ln_1), 0.1, self.training))  # [B, T, 24]


class DebertaV3(nn.Module):
    """Encoder whose attention scores content against content and content against relative position, each by
    its own vectors.

    tokens: int[B, T], mask: bool[B, T]?
    """

    def __init__(self):
        super().__init__()
        self.word = nn.Embedding(61, 24)
        self.ln = nn.LayerNorm(24, eps=1e-07)
        self.live = RealTokens()
        self.place = LogDistance()
        self.table = nn.Parameter(torch.empty(8, 24))
        self.rel = nn.LayerNorm(24, eps=1e-07)
        self.h = nn.ModuleList(ConvolvedPostNorm() for _ in range(2))

    def forward(self, tokens, mask=None):
        place = self.place(torch.arange(tokens.shape[1], device=tokens.device))  # [T, T]
        rel = self.rel(self.table)  # [8, 24]
        attend = mask[:, None, None, :] if mask is not None else None  # [B, 1, 1, T]
        h = F.dropout(self.live(self.ln(self.word(tokens)), mask), 0.1, self.training)  # [B, T, 24]
        for layer in self.h:
            h = layer(h, mask, rel, place, attend)
        return h  # [B, T, 24]

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.table, std=0.02)
