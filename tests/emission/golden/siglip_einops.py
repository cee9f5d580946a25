"""An image tower and a text tower that meet in one space, each pair of image and text judged by itself with a
sigmoid.

Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce, repeat
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


class SiglipOutput(NamedTuple):
    logits_per_image: torch.Tensor
    logits_per_text: torch.Tensor
    image_embed: torch.Tensor
    text_embed: torch.Tensor


class VisualAttention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, 9, 24]
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

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

    x: float[_, _, D]
    """

    def __init__(self, D, hidden):
        super().__init__()
        self.up = nn.Linear(D, hidden)
        self.down = nn.Linear(hidden, D)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))  # [_, _, D]


class VisualPreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, 9, 24]
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(24, eps=1e-06)
        self.attn = VisualAttention()
        self.ln_2 = nn.LayerNorm(24, eps=1e-06)
        self.mlp = Mlp(D=24, hidden=96)

    def forward(self, x):
        r_1 = x + self.attn(self.ln_1(x))  # [B, 9, 24]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, 9, 24]


class VisualTower(nn.Module):
    """Pre-norm layers of one width.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, 9, 24]
    """

    def __init__(self):
        super().__init__()
        self.h = nn.ModuleList(VisualPreNorm() for _ in range(2))

    def forward(self, x):
        h = x  # [B, 9, 24]
        for layer in self.h:
            h = layer(h)
        return h  # [B, 9, 24]


class CrossAttention(nn.Module):
    """Attention from one sequence to another, whose keys and values are computed once and kept.

    Vaswani et al. 2017, section 3.2.3

    x: float[B, 1, 24], memory: float[B, 9, 24]
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x, memory):
        q = self.q(x)  # [B, 1, 24]
        k = self.k(memory)  # [B, 9, 24]
        v = self.v(memory)  # [B, 9, 24]
        qh = rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, 1, 8]
        kh = rearrange(k, "B S (kv_heads head_dim) -> B kv_heads S head_dim", kv_heads=3)  # [B, 3, 9, 8]
        vh = rearrange(v, "B S (kv_heads head_dim) -> B kv_heads S head_dim", kv_heads=3)  # [B, 3, 9, 8]
        m = rearrange(attention(qh, kh, vh), "B heads T head_dim -> B T (heads head_dim)")  # [B, 1, 24]
        return self.o(m)  # [B, 1, 24]


class AttentionPool(nn.Module):
    """One vector for a sequence; a learned query attends to it, and an MLP follows.

    Lee et al. 2019, Set Transformer; Zhai et al. 2022, Scaling Vision Transformers

    x: float[B, 9, 24]
    """

    def __init__(self):
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 24))
        self.attn = CrossAttention()
        self.ln = nn.LayerNorm(24, eps=1e-06)
        self.mlp = Mlp(D=24, hidden=96)

    def forward(self, x):
        attn = self.attn(repeat(self.probe, "n D -> B n D", B=x.shape[0]), x)  # [B, 1, 24]
        return (attn + self.mlp(self.ln(attn)))[:, 0]  # [B, 24]


class L2Normalize(nn.Module):
    """Vectors of length one.

    x: float[B, 24]
    """

    def forward(self, x):
        return x / reduce(x * x, "B D -> B 1", "sum").sqrt()  # [B, 24]


class TextAttention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 16], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(16, 16)
        self.k = nn.Linear(16, 16)
        self.v = nn.Linear(16, 16)
        self.o = nn.Linear(16, 16)

    def forward(self, x, attend):
        q = self.q(x)  # [B, T, 16]
        k = self.k(x)  # [B, T, 16]
        v = self.v(x)  # [B, T, 16]
        qh = rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=2)  # [B, 2, T, 8]
        kh = rearrange(k, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=2)  # [B, 2, T, 8]
        vh = rearrange(v, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=2)  # [B, 2, T, 8]
        a = attention(qh, kh, vh, attend)  # [B, 2, T, 8]
        return self.o(rearrange(a, "B heads T head_dim -> B T (heads head_dim)"))  # [B, T, 16]


class TextPreNorm(nn.Module):
    """A transformer layer that normalises before each sublayer.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, T, 16], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(16, eps=1e-06)
        self.attn = TextAttention()
        self.ln_2 = nn.LayerNorm(16, eps=1e-06)
        self.mlp = Mlp(D=16, hidden=64)

    def forward(self, x, attend):
        r_1 = x + self.attn(self.ln_1(x), attend)  # [B, T, 16]
        return r_1 + self.mlp(self.ln_2(r_1))  # [B, T, 16]


class TextTower(nn.Module):
    """Pre-norm layers of one width.

    Xiong et al. 2020, On Layer Normalization in the Transformer Architecture

    x: float[B, T, 16], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.h = nn.ModuleList(TextPreNorm() for _ in range(3))

    def forward(self, x, attend):
        h = x  # [B, T, 16]
        for layer in self.h:
            h = layer(h, attend)
        return h  # [B, T, 16]


class Siglip(nn.Module):
    """An image tower and a text tower that meet in one space, each pair of image and text judged by itself
    with a sigmoid.

    pixels: float[B, 3, 12, 12], tokens: int[C, T], mask: bool[C, T]?
    """

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, stride=4)
        self.v_pos = nn.Parameter(torch.empty(9, 24))
        self.visual = VisualTower()
        self.v_post = nn.LayerNorm(24, eps=1e-06)
        self.v_pool = AttentionPool()
        self.v = L2Normalize()
        self.t_tok = nn.Embedding(61, 16)
        self.t_pos = nn.Embedding(16, 16)
        self.text = TextTower()
        self.t_post = nn.LayerNorm(16, eps=1e-06)
        self.t_proj = nn.Linear(16, 24)
        self.t = L2Normalize()
        self.logit_scale = nn.Parameter(torch.empty(1))
        self.logit_bias = nn.Parameter(torch.empty(1))

    def forward(self, pixels, tokens, mask=None):
        v = self.v(self.encode_image(pixels))  # [B, 24]
        t = self.t(self.encode_text(tokens, mask))  # [C, 24]
        per_image = einsum(v, t, "B D, C D -> B C") * self.logit_scale.exp() + self.logit_bias  # [B, C]
        per_text = rearrange(per_image, "B C -> C B")  # [C, B]
        return SiglipOutput(logits_per_image=per_image, logits_per_text=per_text, image_embed=v, text_embed=t)

    def encode_image(self, pixels):
        """The pooled image features, not normalised."""
        v_in = rearrange(self.patches(pixels), "B D h w -> B (h w) D") + self.v_pos  # [B, 9, 24]
        return self.v_pool(self.v_post(self.visual(v_in)))  # [B, 24]

    def encode_text(self, tokens, mask=None):
        """The projected text features, not normalised."""
        if tokens.shape[1] > 16:
            raise ValueError(f"a sequence of {tokens.shape[1]} is too long, this model takes 16 at most")
        attend = mask[:, None, None, :] if mask is not None else None  # [C, 1, 1, T]
        text = self.text(self.t_tok(tokens) + self.t_pos(positions(tokens, None, 0)), attend)  # [C, T, 16]
        return self.t_proj(self.t_post(text)[:, -1:][:, 0])  # [C, 24]

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
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.constant_(self.logit_bias, -10.0)
        nn.init.constant_(self.logit_scale, 2.302585092994046)
        nn.init.normal_(self.v_pool.probe, std=0.2041241452319315)
        nn.init.normal_(self.v_pos, std=0.2041241452319315)
