"""Cross-attention, one layer; queries come from x, keys and values from a memory of another width and length.

Vaswani et al. 2017, Attention Is All You Need, section 3.2.3
"""

import torch
import torch.nn.functional as F
from einops import rearrange
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


class CrossAttention(nn.Module):
    """Attention from one sequence to another, whose keys and values are computed once and kept.

    Vaswani et al. 2017, section 3.2.3

    x: float[B, T, 24], memory: float[B, S, 20], attend: bool[B, 1, 1, S]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(20, 24)
        self.v = nn.Linear(20, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x, memory, attend):
        q = self.q(x)  # [B, T, 24]
        k = self.k(memory)  # [B, S, 24]
        v = self.v(memory)  # [B, S, 24]
        qh = rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, T, 8]
        kh = rearrange(k, "B S (kv_heads head_dim) -> B kv_heads S head_dim", kv_heads=3)  # [B, 3, S, 8]
        vh = rearrange(v, "B S (kv_heads head_dim) -> B kv_heads S head_dim", kv_heads=3)  # [B, 3, S, 8]
        a = attention(qh, kh, vh, attend)  # [B, 3, T, 8]
        return self.o(rearrange(a, "B heads T head_dim -> B T (heads head_dim)"))  # [B, T, 24]


class StarterCrossAttention(nn.Module):
    """Cross-attention, one layer; queries come from x, keys and values from a memory of another width and
    length.

    x: float[B, T, 24], memory: float[B, S, 20], memory_mask: bool[B, S]?
    """

    def __init__(self):
        super().__init__()
        self.attn = CrossAttention()

    def forward(self, x, memory, memory_mask=None):
        # [B, 1, 1, S]
        memory_mask_attend = memory_mask[:, None, None, :] if memory_mask is not None else None
        return self.attn(x, memory, memory_mask_attend)  # [B, T, 24]

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                nn.init.zeros_(module.bias)
