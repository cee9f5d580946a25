"""A picture as the tensor that a model reads, and back, through torchvision's v2 transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from runtime.images.pictures import functional, open_picture

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = "str | Path | Image | Tensor"
Size = tuple[int, int]

#: What torch calls Pillow's filters, where the names differ.
_MODES: Final = {"nearest": "nearest-exact"}
#: What torch resizes by, too.
_OF_TENSORS: Final = ("nearest", "bilinear", "bicubic")
#: Pixels of a resized picture; a strip of a pixel's width grows as much as its other edge does.
MAX_PIXELS: Final = 2**27


@dataclass(frozen=True)
class ImageTransform:
    """Resize, cut from the middle, scale to [0, 1], normalise.

    resize: the shorter edge, or (height, width); crop: (height, width); None leaves the step out.
    mean, std: of each channel; there are as many channels.
    """

    resize: int | Size | None
    crop: Size | None
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if (len(self.mean), len(self.std)) not in ((1, 1), (3, 3)):
            message = (
                f"pictures of {len(self.mean)} channels (std: {len(self.std)}) are not read; of 1 and 3 are"
            )
            raise fail("bad-value", message, None)

    def __call__(self, pictures: Picture | Sequence[Picture]) -> Tensor:
        """float32[B, C, H, W] of one picture or several.

        A picture is a path, a PIL image, or a tensor uint8[C, H, W]. Files are turned as their EXIF says.
        Alpha is dropped. What Pillow holds is resized by Pillow, a tensor by torch (antialiased): the two
        differ by a few levels in 255.
        Raises CompileError for what cannot be read, and for pictures that end in several sizes.
        """
        given: list[Any] = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
        made = [self._one(picture) for picture in given]
        sizes = {tuple(one.shape) for one in made}
        if len(sizes) != 1:
            raise fail(
                "usage", f"pictures of {len(sizes)} sizes make no batch", None, help="give them one by one"
            )
        return torch.stack(made)

    def denormalize(self, pixels: Tensor) -> Tensor:
        """uint8[B, C, H, W], pictures again, of float[B, C, H, W]; what leaves the colours' range is cut."""
        mean, std = (torch.tensor(v).to(pixels.device).view(-1, 1, 1) for v in (self.mean, self.std))
        return (pixels.float() * std + mean).mul(255).round().clamp(0, 255).to(torch.uint8)

    def _one(self, picture: Picture) -> Tensor:
        F = functional()
        found = open_picture(picture, len(self.mean))
        if self.resize is not None:
            self._check_size(*F.get_size(found))
            if isinstance(found, Tensor) and self.interpolation not in _OF_TENSORS:
                found = F.to_pil_image(found)
            size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
            found = F.resize(
                found,
                size,
                F.InterpolationMode(_MODES.get(self.interpolation, self.interpolation)),
                antialias=True,
            )
        if self.crop is not None:
            found = F.center_crop(found, list(self.crop))
        pixels = found if isinstance(found, Tensor) else F.pil_to_tensor(found)
        scaled = pixels.to(torch.float32).div(255)
        return F.normalize(scaled, list(self.mean), list(self.std))  # type: ignore[no-any-return]

    def _check_size(self, height: int, width: int) -> None:
        if not isinstance(self.resize, int):
            return
        short, long = sorted((height, width))
        if self.resize * self.resize * long // short > MAX_PIXELS:
            message = f"a picture of {width} x {height}, its shorter edge made {self.resize}, is too large"
            raise fail("usage", message, None, help="cut it to the part that matters")
