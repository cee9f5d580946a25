"""An image cut into square patches, each laid out as one vector; 224 / 16 gives 14 rows of 14 patches.

Dosovitskiy et al. 2020, An Image is Worth 16x16 Words, section 3.1
"""

from torch import nn


class StarterPatchify(nn.Module):
    """An image cut into square patches, each laid out as one vector; 224 / 16 gives 14 rows of 14 patches.

    pixels: float[B, 3, 12, 12]
    """

    def forward(self, pixels):
        # [B, 9, 48]
        patches = (
            pixels.unflatten(-1, (3, 4))
            .unflatten(2, (3, 4))
            .permute(0, 2, 4, 3, 5, 1)
            .flatten(3)
            .flatten(1, 2)
        )
        return patches  # [B, 9, 48]
