"""Pictures made from a seed: edges, gradients and noise at sizes that do not divide."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

#: (width, height): landscape, portrait, square, smaller than the model reads, a strip of one pixel's width.
SIZES: Final = ((404, 300), (257, 604), (224, 224), (60, 81), (1, 9))


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    smooth = [128 + 127 * np.sin(x / (7 + c) + y / (11 - c)) for c in range(3)]
    noise = random.integers(-40, 40, (height, width, 3))
    found = np.stack(smooth, -1) + noise
    found[(x // 16 + y // 16) % 5 == 0] = random.integers(0, 255, 3)
    return Image.fromarray(found.clip(0, 255).astype(np.uint8))


def saved(folder: Path, image: Image.Image, name: str = "picture.png") -> Path:
    image.save(folder / name)
    return folder / name
