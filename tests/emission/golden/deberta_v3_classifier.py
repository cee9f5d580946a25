"""DeBERTa with a pooler on its first token and a linear head that classifies a text.

He et al. 2020, DeBERTa; He et al. 2021, DeBERTaV3
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
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


class DebertaV3ClassifierOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


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
        qh = self.q(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        kh = self.k(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        vh = self.v(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        pqh = self.q(r).unflatten(-1, (3, 8)).transpose(0, 1)  # [3, 8, 8]
        pkh = self.k(r).unflatten(-1, (3, 8)).transpose(0, 1)  # [3, 8, 8]
        c2p = torch.einsum("BhTd, hRd -> BhTR", qh, pkh)  # [B, 3, T, 8]
        p2c = torch.einsum("BhSd, hRd -> BhSR", kh, pqh)  # [B, 3, T, 8]
        at_q = c2p[:, :, torch.arange(x.shape[1], device=c2p.device)[:, None], place]  # [B, 3, T, T]
        at_k = p2c[:, :, torch.arange(x.shape[1], device=p2c.device), place]  # [B, 3, T, T]
        bias = (at_q + at_k) * 0.2041241452319315  # [B, 3, T, T]
        # [B, 3, T, 8]
        a = biased_attention(
            qh, kh, vh, bias, attend, scale=0.2041241452319315, dropout=0.1 if self.training else 0.0
        )
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


class DebertaV3Classifier(nn.Module):
    """DeBERTa with a pooler on its first token and a linear head that classifies a text.

    tokens: int[B, T], mask: bool[B, T]?, labels: int[B]?
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
        self.pooler = nn.Linear(24, 24)
        self.head = nn.Linear(24, 7)

    def forward(self, tokens, mask=None, labels=None):
        place = self.place(torch.arange(tokens.shape[1], device=tokens.device))  # [T, T]
        rel = self.rel(self.table)  # [8, 24]
        attend = mask[:, None, None, :] if mask is not None else None  # [B, 1, 1, T]
        h = F.dropout(self.live(self.ln(self.word(tokens)), mask), 0.1, self.training)  # [B, T, 24]
        for layer in self.h:
            h = layer(h, mask, rel, place, attend)
        head = self.head(F.dropout(F.gelu(self.pooler(h[:, 0])), 0.1, self.training))  # [B, 7]
        loss = F.cross_entropy(head, labels) if labels is not None else None  # []
        if loss is None:
            return head
        return DebertaV3ClassifierOutput(logits=head, loss=loss)

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
