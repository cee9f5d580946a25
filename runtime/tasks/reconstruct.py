"""reconstruct: images with most of their patches hidden, redrawn by a model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from runtime.tasks.abilities import require
from runtime.tasks.opened import Opened


@dataclass(frozen=True)
class Reconstruction:
    """pixels, redrawn: float[N, 3, H, W], as the model sees them; what was shown is kept in `redrawn`.

    hidden: bool[N, H, W], the places that the model did not see. loss: its own, over the batch.
    """

    pixels: torch.Tensor
    hidden: torch.Tensor
    redrawn: torch.Tensor
    loss: float

    @property
    def error(self) -> float:
        """The mean square error over the hidden places, in units of `pixels`."""
        where = self.hidden[:, None].expand_as(self.pixels)
        return float((self.pixels - self.redrawn)[where].square().mean())


def reconstruct(opened: Opened, pixels: torch.Tensor, *, seed: int = 0) -> Reconstruction:
    """Hide patches of each image of float[N, 3, H, W], by chance from `seed`, and have them redrawn.

    Raises CompileError for a model of another kind.
    """
    require(opened.signature, "reconstruct")
    patches = opened.signature.longest("noise")
    assert patches is not None, "the number of patches follows from the size of the image, which is fixed"
    generator = torch.Generator().manual_seed(seed)
    inputs = {"pixels": pixels, "noise": torch.rand(len(pixels), patches, generator=generator)}
    found = opened.call(inputs)
    redrawn = opened.call(inputs, "reconstruct")["pixels"].cpu()
    side = math.isqrt(patches)
    grid = found["mask"].cpu().reshape(len(pixels), side, side).bool()
    scale = [size // side for size in pixels.shape[-2:]]
    hidden = grid.repeat_interleave(scale[0], 1).repeat_interleave(scale[1], 2)
    return Reconstruction(pixels.cpu(), hidden, redrawn, float(found["loss"]))
