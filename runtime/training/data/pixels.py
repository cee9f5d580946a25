"""From stored pixels to what a model sees, and the chance that moves a picture while it is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from runtime.training.data.common import DataSection
from runtime.training.fields import Count, Flag, Number


@dataclass(frozen=True)
class Look:
    """mean, std: of pixels in [0, 1]. shift: by how many pixels a picture is moved at most;
    flip: whether it is mirrored half of the time.
    """

    mean: float
    std: float
    shift: int
    flip: bool

    def __call__(self, stored: Tensor, rng: torch.Generator | None) -> Tensor:
        """uint8[C, H, W] as float[C, H, W]; moved by chance where there is a generator."""
        pixels = (stored.float() / 255 - self.mean) / self.std
        return pixels if rng is None else self._moved(pixels, rng)

    def _moved(self, pixels: Tensor, rng: torch.Generator) -> Tensor:
        """Edges are repeated where a picture moves away from them."""
        if self.shift:
            height, width = pixels.shape[-2:]
            padded = F.pad(pixels[None], [self.shift] * 4, mode="replicate")[0]
            y, x = torch.randint(2 * self.shift + 1, (2,), generator=rng).tolist()
            pixels = padded[:, y : y + height, x : x + width]
        if self.flip and bool(torch.rand(1, generator=rng) < 0.5):
            pixels = pixels.flip(-1)
        return pixels


class PixelsSection(DataSection):
    """mean, std, shift, flip: as `Look` has them."""

    mean: Number = 0.5
    std: Annotated[Number, Field(gt=0)] = 0.5
    shift: Count = 0
    flip: Flag = False

    @property
    def look(self) -> Look:
        """What pictures of this data look like to a model."""
        return Look(self.mean, self.std, self.shift, self.flip)
