"""A masked autoencoder in the research code's layout, put together from timm's layers."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import nn


class Autoencoder(nn.Module):
    """cls: whether a class token stands before the patches, in the encoder and in the decoder."""

    def __init__(self, sizes: dict[str, Any], cls: bool = True) -> None:
        super().__init__()
        dim, wide = sizes["dim"], sizes["dec_dim"]
        self.patch_embed = PatchEmbed(sizes["image"], sizes["patch"], sizes["channels"], dim)
        self.keep, count = sizes["keep"], (sizes["image"] // sizes["patch"]) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if cls else None
        self.pos_embed = nn.Parameter(torch.zeros(1, count + cls, dim), requires_grad=False)
        ratio, dec_ratio = sizes["hidden"] / dim, sizes["dec_hidden"] / wide
        self.blocks = _layers(sizes["depth"], dim, sizes["heads"], ratio)
        self.norm = nn.LayerNorm(dim, eps=sizes["eps"])
        self.decoder_embed = nn.Linear(dim, wide)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, wide))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, count + cls, wide), requires_grad=False)
        self.decoder_blocks = _layers(sizes["dec_depth"], wide, sizes["dec_heads"], dec_ratio)
        self.decoder_norm = nn.LayerNorm(wide, eps=sizes["eps"])
        self.decoder_pred = nn.Linear(wide, sizes["patch"] ** 2 * sizes["channels"])

    def encode(self, pixels: torch.Tensor, order: torch.Tensor | None) -> torch.Tensor:
        """The patches that come first in an order; None: all of them, as they stand."""
        first = 0 if self.cls_token is None else 1
        x = self.patch_embed(pixels) + self.pos_embed[:, first:]
        if order is not None:
            x = torch.stack([row[kept] for row, kept in zip(x, order[:, : self.keep], strict=True)])
        if self.cls_token is not None:
            token = self.cls_token + self.pos_embed[:, :1]
            x = torch.cat((token.expand(len(x), -1, -1), x), 1)
        return self.norm(self.blocks(x))

    def forward(self, pixels: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
        order = noise.sort(1).indices
        first = 0 if self.cls_token is None else 1
        seen = self.decoder_embed(self.encode(pixels, order))
        x = self.mask_token.repeat(len(seen), order.shape[1] + first, 1)
        hidden = torch.ones_like(noise)
        x[:, :first] = seen[:, :first]
        for row, (places, vectors) in enumerate(zip(order[:, : self.keep], seen[:, first:], strict=True)):
            x[row, places + first] = vectors
            hidden[row, places] = 0
        x = self.decoder_norm(self.decoder_blocks(x + self.decoder_pos_embed))
        logits = self.decoder_pred(x)[:, first:]
        side = self.patch_embed.patch_size[0]
        goal = (
            pixels.unfold(2, side, side)
            .unfold(3, side, side)
            .permute(0, 2, 3, 4, 5, 1)
            .flatten(3)
            .flatten(1, 2)
        )
        loss = ((logits - goal) ** 2).mean(2)[hidden.bool()].mean()
        return {"logits": logits, "loss": loss, "mask": hidden}


def _layers(depth: int, dim: int, heads: int, ratio: float) -> nn.Sequential:
    norm = nn.LayerNorm
    layers = [Block(dim, heads, ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth)]
    return nn.Sequential(*layers)
