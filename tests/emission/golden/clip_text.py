"""The text tower of CLIP alone, up to the space that it shares with the image tower.

Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision
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


def quick_gelu(x):
    """x sigmoid(1.702 x), the approximation of GELU that CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


class ClipTextOutput(NamedTuple):
    hidden: torch.Tensor
    text_features: torch.Tensor
    text_embed: torch.Tensor


class Attention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 16], visible: bool[B, 1, T, T]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(16, 16)
        self.k = nn.Linear(16, 16)
        self.v = nn.Linear(16, 16)
        self.o = nn.Linear(16, 16)

    def forward(self, x, visible):
        qh = self.q(x).unflatten(-1, (2, 8)).transpose(1, 2)  # [B, 2, T, 8]
        kh = self.k(x).unflatten(-1, (2, 8)).transpose(1, 2)  # [B, 2, T, 8]
        vh = self.v(x).unflatten(-1, (2, 8)).transpose(1, 2)  # [B, 2, T, 8]
        return self.o(attention(qh, kh, vh, visible, causal=True).transpose(1, 2).flatten(2))  # [B, T, 16]


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[C, T, 16]
    """

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(16, 64)
        self.down = nn.Linear(64, 16)

    def forward(self, x):
        return self.down(quick_gelu(self.up(x)))  # [C, T, 16]


class PreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, T, 16], visible: bool[B, 1, T, T]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(16)
        self.attn = Attention()
        self.ln_2 = nn.LayerNorm(16)
        self.mlp = Mlp()

    def forward(self, x, visible):
        r_1 = x + self.attn(self.ln_1(x), visible)  # [B, T, 16]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, T, 16]


class Tower(nn.Module):
    """Pre-norm layers of one width.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, T, 16], visible: bool[B, 1, T, T]?
    """

    def __init__(self):
        super().__init__()
        self.h = nn.ModuleList(PreNorm() for _ in range(3))

    def forward(self, x, visible):
        h = x  # [B, T, 16]
        for layer in self.h:
            h = layer(h, visible)
        return h  # [B, T, 16]


class L2Normalize(nn.Module):
    """Vectors of length one.

    x: float[B, 20]
    """

    def forward(self, x):
        return x / (x * x).sum(1, keepdim=True).sqrt()  # [B, 20]


class ClipText(nn.Module):
    """The text tower of CLIP alone, up to the space that it shares with the image tower.

    tokens: int[C, T], mask: bool[C, T]?
    """

    def __init__(self):
        super().__init__()
        self.t_tok = nn.Embedding(61, 16)
        self.t_pos = nn.Embedding(16, 16)
        self.text = Tower()
        self.t_post = nn.LayerNorm(16)
        self.t_proj = nn.Linear(16, 20, bias=False)
        self.t = L2Normalize()

    def forward(self, tokens, mask=None):
        if tokens.shape[1] > 16:
            raise ValueError(f"a sequence of {tokens.shape[1]} is too long, this model takes 16 at most")
        t_in = self.t_tok(tokens) + self.t_pos(positions(tokens, None, 0))  # [C, T, 16]
        visible = causal_mask(mask, tokens, 0)  # [C, 1, T, T]
        t_post = self.t_post(self.text(t_in, visible))  # [C, T, 16]
        t_end = t_post[torch.arange(tokens.shape[0], device=t_post.device), tokens.argmax(1)]  # [C, 16]
        t_proj = self.t_proj(t_end)  # [C, 20]
        t = self.t(t_proj)  # [C, 20]
        return ClipTextOutput(hidden=t_post, text_features=t_proj, text_embed=t)

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
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
