"""Image classifier of convolutions alone, made after the pattern of a transformer; four stages, then the mean
of all places.

Liu et al. 2022, A ConvNet for the 2020s
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class ConvnextOutput(NamedTuple):
    logits: torch.Tensor
    loss: torch.Tensor


class ChannelNorm(nn.Module):
    """Layer norm over the channels, at each place of an image.

    x: float[B, D, H, H]
    """

    def __init__(self, D):
        super().__init__()
        self.ln = nn.LayerNorm(D, eps=1e-06)

    def forward(self, x):
        return self.ln(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # [B, D, H, H]


class Mlp(nn.Module):
    """Two linear maps with an activation between them.

    Vaswani et al. 2017, section 3.3

    x: float[B, _, _, D]
    """

    def __init__(self, D, hidden):
        super().__init__()
        self.up = nn.Linear(D, hidden)
        self.down = nn.Linear(hidden, D)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))  # [B, _, _, D]


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
        scaled = self.channels(self.ln(self.places(x).permute(0, 2, 3, 1))) * self.scale  # [B, H, H, D]
        return x + scaled.permute(0, 3, 1, 2)  # [B, D, H, H]


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


class Convnext(nn.Module):
    """Image classifier of convolutions alone, made after the pattern of a transformer; four stages, then the
    mean of all places.

    pixels: float[B, 3, 64, 64], labels: int[B]?
    """

    def __init__(self):
        super().__init__()
        self.features = ConvnextTower()
        self.norm = nn.LayerNorm(28, eps=1e-06)
        self.head = nn.Linear(28, 7)

    def forward(self, pixels, labels=None):
        head = self.head(self.norm(self.encode_image(pixels).mean((2, 3))))  # [B, 7]
        loss = F.cross_entropy(head, labels) if labels is not None else None  # []
        if loss is None:
            return head
        return ConvnextOutput(logits=head, loss=loss)

    def encode_image(self, pixels):
        """The features at each place of the grid."""
        return self.features(pixels)  # [B, 28, 2, 2]

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
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for layer in self.features.stage_1:
            nn.init.constant_(layer.scale, 1e-06)
        for layer in self.features.stage_2:
            nn.init.constant_(layer.scale, 1e-06)
        for layer in self.features.stage_3:
            nn.init.constant_(layer.scale, 1e-06)
        for layer in self.features.stage_4:
            nn.init.constant_(layer.scale, 1e-06)
