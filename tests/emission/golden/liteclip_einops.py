"""A small CLIP; a ConvNeXt looks, a small BERT reads, a projection of each meets the other in one space.

Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision; Liu et al.
2022; Turc et al. 2019
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
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


class LiteclipOutput(NamedTuple):
    logits_per_image: torch.Tensor
    logits_per_text: torch.Tensor
    image_embed: torch.Tensor
    text_embed: torch.Tensor
    loss: torch.Tensor


class ChannelNorm(nn.Module):
    """Layer norm over the channels, at each place of an image.

    x: float[B, D, H, H]
    """

    def __init__(self, D):
        super().__init__()
        self.ln = nn.LayerNorm(D, eps=1e-06)

    def forward(self, x):
        return rearrange(self.ln(rearrange(x, "B D H W -> B H W D")), "B H W D -> B D H W")  # [B, D, H, H]


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[..., D]
    """

    def __init__(self, D, hidden):
        super().__init__()
        self.up = nn.Linear(D, hidden)
        self.down = nn.Linear(hidden, D)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))  # [..., D]


class ConvnextLayer(nn.Module):
    """A depthwise convolution mixes places, an MLP mixes channels, a learned scale lets the sum begin with x
    alone.

    Liu et al. 2022, section 2.6

    x: float[B, D, H, H]
    """

    def __init__(self, D, out):
        super().__init__()
        self.places = nn.Conv2d(D, D, 7, padding=3, groups=D)
        self.ln = nn.LayerNorm(D, eps=1e-06)
        self.channels = Mlp(D=D, hidden=out)
        self.scale = nn.Parameter(torch.empty(D))

    def forward(self, x):
        ln = self.ln(rearrange(self.places(x), "B D H W -> B H W D"))  # [B, H, H, D]
        channels = self.channels(ln)  # [B, H, H, D]
        return x + rearrange(channels * self.scale, "B H W D -> B D H W")  # [B, D, H, H]


class ConvnextDownsample(nn.Module):
    """Half as many rows and columns, and another number of channels.

    Liu et al. 2022, section 2.6

    x: float[B, D, H, H]
    """

    def __init__(self, D, out):
        super().__init__()
        self.norm = ChannelNorm(D=D)
        self.conv = nn.Conv2d(D, out, 2, stride=2)

    def forward(self, x):
        return self.conv(self.norm(x))  # [B, out, _, _]


class ConvnextTower(nn.Module):
    """An image made smaller and wider in four stages, each a row of equal layers.

    Liu et al. 2022, A ConvNet for the 2020s, section 2

    pixels: float[B, 3, 64, 64]
    """

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.stem_norm = ChannelNorm(D=8)
        self.stage_1 = nn.ModuleList(ConvnextLayer(D=8, out=32) for _ in range(2))
        self.down_2 = ConvnextDownsample(D=8, out=12)
        self.stage_2 = nn.ModuleList(ConvnextLayer(D=12, out=48) for _ in range(1))
        self.down_3 = ConvnextDownsample(D=12, out=20)
        self.stage_3 = nn.ModuleList(ConvnextLayer(D=20, out=80) for _ in range(3))
        self.down_4 = ConvnextDownsample(D=20, out=28)
        self.stage_4 = nn.ModuleList(ConvnextLayer(D=28, out=112) for _ in range(1))

    def forward(self, pixels):
        stage_1 = self.stem_norm(self.stem(pixels))  # [B, 8, 16, 16]
        for layer in self.stage_1:
            stage_1 = layer(stage_1)
        stage_2 = self.down_2(stage_1)  # [B, 12, 8, 8]
        for layer in self.stage_2:
            stage_2 = layer(stage_2)
        stage_3 = self.down_3(stage_2)  # [B, 20, 4, 4]
        for layer in self.stage_3:
            stage_3 = layer(stage_3)
        stage_4 = self.down_4(stage_3)  # [B, 28, 2, 2]
        for layer in self.stage_4:
            stage_4 = layer(stage_4)
        return stage_4  # [B, 28, 2, 2]


class ProjectionHead(nn.Module):
    """A linear map into a shared space, and a small correction of what it gives.

    x: float[B, D]
    """

    def __init__(self, D):
        super().__init__()
        self.proj = nn.Linear(D, 20)
        self.ln = nn.LayerNorm(20)

    def forward(self, x):
        proj = self.proj(x)  # [B, 20]
        return proj + self.ln(F.dropout(F.gelu(proj), 0.1, self.training))  # [B, 20]


class L2Normalize(nn.Module):
    """Vectors of length one.

    x: float[B, 20]
    """

    def forward(self, x):
        return x / reduce(x * x, "B D -> B 1", "sum").sqrt()  # [B, 20]


class Attention(nn.Module):
    """Multi-head attention; grouped-query when kv_heads is smaller than heads.

    Vaswani et al. 2017, section 3.2; Ainslie et al. 2023

    x: float[B, T, 24], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x, attend):
        q = self.q(x)  # [B, T, 24]
        k = self.k(x)  # [B, T, 24]
        v = self.v(x)  # [B, T, 24]
        qh = rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, T, 8]
        kh = rearrange(k, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, T, 8]
        vh = rearrange(v, "B T (kv_heads head_dim) -> B kv_heads T head_dim", kv_heads=3)  # [B, 3, T, 8]
        a = attention(qh, kh, vh, attend, dropout=0.1 if self.training else 0.0)  # [B, 3, T, 8]
        return self.o(rearrange(a, "B heads T head_dim -> B T (heads head_dim)"))  # [B, T, 24]


class PostNorm(nn.Module):
    """A transformer layer that normalises after each residual sum.

    Vaswani et al. 2017, section 5.4

    x: float[B, T, 24], attend: bool[B, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.attn = Attention()
        self.ln_1 = nn.LayerNorm(24, eps=1e-12)
        self.mlp = Mlp(D=24, hidden=40)
        self.ln_2 = nn.LayerNorm(24, eps=1e-12)

    def forward(self, x, attend):
        ln_1 = self.ln_1(x + F.dropout(self.attn(x, attend), 0.1, self.training))  # [B, T, 24]
        return self.ln_2(ln_1 + F.dropout(self.mlp(ln_1), 0.1, self.training))  # [B, T, 24]


class TextTower(nn.Module):
    """A BERT without its pooler.

    tokens: int[C, T], segments: int[C, T], attend: bool[C, 1, 1, T]?
    """

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(61, 24)
        self.segment = nn.Embedding(2, 24)
        self.position = nn.Embedding(16, 24)
        self.ln = nn.LayerNorm(24, eps=1e-12)
        self.h = nn.ModuleList(PostNorm() for _ in range(2))

    def forward(self, tokens, segments, attend):
        token = self.token(tokens)  # [C, T, 24]
        segment = self.segment(segments)  # [C, T, 24]
        position = self.position(positions(tokens, None, 0))  # [C, T, 24]
        h = F.dropout(self.ln(token + segment + position), 0.1, self.training)  # [C, T, 24]
        for layer in self.h:
            h = layer(h, attend)
        return h  # [C, T, 24]


class MaskedMean(nn.Module):
    """The mean of the real tokens' vectors.

    x: float[B, T, 24], mask: bool[B, T]
    """

    def forward(self, x, mask):
        real = mask.to(x.dtype)  # [B, T]
        total = einsum(x, real, "B T D, B T -> B D")  # [B, 24]
        count = reduce(real, "B T -> B 1", "sum")  # [B, 1]
        return total / count.clamp(min=1)  # [B, 24]


class ContrastiveLoss(nn.Module):
    """Each image must find its text among all texts, and that text its image among all images.

    Radford et al. 2021, figure 3

    per_image: float[B, C], per_text: float[C, B], labels: int[B]?
    """

    def forward(self, per_image, per_text, labels):
        texts = F.cross_entropy(per_image, labels) if labels is not None else None  # []
        rows = per_text[labels] if labels is not None else None  # [B, B]
        own = torch.arange(per_image.shape[0], device=per_image.device)  # [B]
        images = F.cross_entropy(rows, own) if rows is not None else None  # []
        y = (texts + images) / 2 if texts is not None and images is not None else None  # []
        return y  # []


class Liteclip(nn.Module):
    """A small CLIP; a ConvNeXt looks, a small BERT reads, a projection of each meets the other in one space.

    pixels: float[B, 3, 64, 64], tokens: int[C, T], mask: bool[C, T]?, segments: int[C, T]?, labels:
    int[B]?
    """

    def __init__(self):
        super().__init__()
        self.visual = ConvnextTower()
        self.v_norm = nn.LayerNorm(28, eps=1e-06)
        self.v_proj = ProjectionHead(D=28)
        self.v = L2Normalize()
        self.text = TextTower()
        self.t_mean = MaskedMean()
        self.t_proj = ProjectionHead(D=24)
        self.t = L2Normalize()
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.loss = ContrastiveLoss()

    def forward(self, pixels, tokens, mask=None, segments=None, labels=None):
        v = self.v(self.encode_image(pixels))  # [B, 20]
        t = self.t(self.encode_text(tokens, mask, segments))  # [C, 20]
        per_image = einsum(v, t, "B D, C D -> B C") * self.logit_scale.exp()  # [B, C]
        per_text = rearrange(per_image, "B C -> C B")  # [C, B]
        loss = self.loss(per_image, per_text, labels) if labels is not None else None  # []
        return LiteclipOutput(
            logits_per_image=per_image, logits_per_text=per_text, image_embed=v, text_embed=t, loss=loss
        )

    def encode_image(self, pixels):
        """The projected image features, not normalised."""
        return self.v_proj(self.v_norm(reduce(self.visual(pixels), "B D h w -> B D", "mean")))  # [B, 20]

    def encode_text(self, tokens, mask=None, segments=None):
        """The projected text features, not normalised."""
        if tokens.shape[1] > 16:
            raise ValueError(f"a sequence of {tokens.shape[1]} is too long, this model takes 16 at most")
        if mask is None:
            mask = tokens == tokens  # [C, T]
        if segments is None:
            segments = 0 * tokens  # [C, T]
        return self.t_proj(self.t_mean(self.text(tokens, segments, mask[:, None, None, :]), mask))  # [C, 20]

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.constant_(self.logit_scale, 2.659260036932778)
        for layer in self.visual.stage_1:
            nn.init.constant_(layer.scale, 1e-06)
        for layer in self.visual.stage_2:
            nn.init.constant_(layer.scale, 1e-06)
        for layer in self.visual.stage_3:
            nn.init.constant_(layer.scale, 1e-06)
        for layer in self.visual.stage_4:
            nn.init.constant_(layer.scale, 1e-06)
