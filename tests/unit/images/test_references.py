"""What specs declare gives the pixels that transformers, timm and open_clip give."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg
from torchvision.transforms.v2.functional import pil_to_tensor
from transformers import (
    BitImageProcessor,
    BitImageProcessorPil,
    CLIPImageProcessor,
    CLIPImageProcessorPil,
    ConvNextImageProcessor,
    ConvNextImageProcessorPil,
    SiglipImageProcessor,
    SiglipImageProcessorPil,
    ViTImageProcessor,
    ViTImageProcessorPil,
)

import runtime
from runtime.images import ImageTransform, image_transform
from tests.artifacts import need
from tests.unit.images.samples import SIZES, picture

HALF: Final = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
IMAGENET: Final = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
DINO: Final = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, **IMAGENET}

#: Each spec, transformers' two processors, and the settings of the published checkpoints.
PROCESSORS: Final[dict[str, tuple[Any, Any, dict[str, Any]]]] = {
    "clip_vitb32": (CLIPImageProcessor, CLIPImageProcessorPil, {}),
    "siglip": (SiglipImageProcessor, SiglipImageProcessorPil, {}),
    "vit": (ViTImageProcessor, ViTImageProcessorPil, HALF),
    "vit_mae": (ViTImageProcessor, ViTImageProcessorPil, IMAGENET),
    "dinov2": (BitImageProcessor, BitImageProcessorPil, DINO),
    "convnext": (
        ConvNextImageProcessor,
        ConvNextImageProcessorPil,
        {"size": {"shortest_edge": 224}, **IMAGENET},
    ),
}
#: The same rounding, in another order of additions.
ROUNDING: Final = 1e-6


@cache
def transform(spec: str) -> ImageTransform:
    """What a spec says of itself, 224 pixels wide."""
    sizes = {"input_image": 224} if spec == "dinov2" else None
    return image_transform(runtime.load(spec, weights=None, set=sizes, device="meta"))


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", PROCESSORS)
def test_as_transformers(spec: str, size: tuple[int, int]) -> None:
    """Tensors as its torchvision processors, pictures as its Pillow processors: every level is the same."""
    tensors, pillow, settings = PROCESSORS[spec]
    ours, image = transform(spec), picture(*size)
    said = {"return_tensors": "pt", "input_data_format": "channels_first"}
    theirs = tensors(**settings)(pil_to_tensor(image), **said).pixel_values
    assert largest(ours(pil_to_tensor(image)), theirs) <= ROUNDING
    theirs = pillow(**settings)(pil_to_tensor(image).numpy(), **said).pixel_values
    assert largest(ours(image), theirs) <= ROUNDING


def test_where_an_odd_number_is_cut() -> None:
    """Of 75 columns too many, torchvision (and OpenAI, timm, open_clip with it) leaves 38 on the left,
    transformers 37; all else is the same."""
    image = pil_to_tensor(picture(403, 301))
    theirs = CLIPImageProcessor()(image, return_tensors="pt").pixel_values
    assert largest(transform("clip_vitb32")(image)[..., :-1], theirs[..., 1:]) <= ROUNDING


#: timm's weights that our maps read, whose own settings timm keeps.
VIT, CONVNEXT = "vit_base_patch16_224.augreg_in21k_ft_in1k", "convnext_tiny.fb_in1k"
TIMM: Final = {"convnext": CONVNEXT, "liteclip": CONVNEXT, "simple_vit": VIT, "vit_gap": VIT}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", TIMM)
def test_as_timm(spec: str, size: tuple[int, int]) -> None:
    image, settings = picture(*size), get_pretrained_cfg(TIMM[spec]).to_dict()
    theirs = create_transform(**resolve_data_config(pretrained_cfg=settings))
    assert largest(transform(spec)(image)[0], theirs(image)) == 0


@pytest.mark.parametrize("size", SIZES)
def test_as_open_clip(size: tuple[int, int]) -> None:
    """Its own default settings, which are OpenAI's."""
    image = picture(*size)
    theirs = image_transform_v2(PreprocessCfg(size=224), is_train=False)(image)
    assert largest(transform("clip_vitb32")(image)[0], theirs) == 0


def test_photographs() -> None:
    """Files are read as open_clip's users and transformers' pipelines read them."""
    folder = need("photos").parent
    theirs = image_transform_v2(PreprocessCfg(size=224), is_train=False)
    paths = [folder / name for name in ("astronaut.png", "rocket.jpg", "chelsea.png", "coins.png")]
    ours = transform("clip_vitb32")(paths)
    for row, path in zip(ours, paths, strict=True):
        assert largest(row, theirs(Image.open(path))) == 0
