"""Pictures as models see them. torchvision and Pillow (extra `vision`) are imported at their first use."""

from __future__ import annotations

from runtime.images.declared import image_transform
from runtime.images.transform import ImageTransform

__all__ = ["ImageTransform", "image_transform"]
