"""preprocessor_config.json is read as transformers reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torchvision.transforms.v2.functional import pil_to_tensor
from transformers import CLIPImageProcessor, ConvNextImageProcessor, ViTImageProcessor

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.config_source import read_json
from runtime.images import ImageTransform
from runtime.images.config import NAME, from_config
from runtime.images.declared import image_transform
from tests.unit.images.samples import picture

COLOURS = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.1]}


def read(folder: Path, said: ImageTransform | None = None, **settings: Any) -> ImageTransform:
    path = folder / NAME
    path.write_text(json.dumps(settings, indent=1))
    return from_config(read_json(path), said)


@pytest.mark.parametrize(
    ("processor", "settings"),
    [
        (CLIPImageProcessor, {"size": 20, "crop_size": 20, "resample": 3, "do_center_crop": True}),
        (CLIPImageProcessor, {"size": {"shortest_edge": 33}, "crop_size": {"height": 20, "width": 26}}),
        (CLIPImageProcessor, {"size": {"height": 33, "width": 40}, "crop_size": 20, "do_normalize": False}),
        (CLIPImageProcessor, {"do_resize": False, "crop_size": {"height": 70, "width": 60}}),
        (ViTImageProcessor, {"size": 24, "resample": 2}),
        (ViTImageProcessor, {"size": {"height": 24, "width": 31}, "resample": 0}),
        (ConvNextImageProcessor, {"size": {"shortest_edge": 28}, "crop_pct": 0.875, "resample": 3}),
        (ConvNextImageProcessor, {"size": {"shortest_edge": 384}, "crop_pct": 0.9, "resample": 2}),
    ],
)
def test_as_transformers_reads_it(processor: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    theirs = processor(**COLOURS, **settings)
    for written in (settings | COLOURS, json.loads(theirs.to_json_string())):
        kinds = {"do_center_crop": processor is CLIPImageProcessor, "resample": int(theirs.resample)}
        ours = read(tmp_path, **{**kinds, **written})
        image = pil_to_tensor(picture(57, 44))
        expected = theirs(image, return_tensors="pt").pixel_values
        assert ours(image).shape == expected.shape
        assert float((ours(image) - expected).abs().max()) <= 1e-6


def test_what_is_left_out_is_as_the_spec_says(tmp_path: Path) -> None:
    said = ImageTransform(40, (32, 32), "bicubic", (0.1,) * 3, (0.9,) * 3)
    assert read(tmp_path, said) == said
    assert read(tmp_path, said, size=50) == ImageTransform(50, (32, 32), "bicubic", (0.1,) * 3, (0.9,) * 3)
    assert read(tmp_path, said, resample=2, do_center_crop=False).crop is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("do_rescale", False),
        ("rescale_factor", 0.00784),
        ("resample", 9),
        ("size", {"longest_edge": 224}),
        ("size", 0),
        ("crop_size", "big"),
        ("image_mean", 0.5),
        ("do_pad", True),
        ("num_crops", 4),
    ],
)
def test_what_is_not_expressed_is_an_error_with_its_place(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        read(tmp_path, do_center_crop=True, **{key: value})
    (found,) = caught.value.diagnostics
    assert found.code == "config-value" and f"`{key}" in found.message
    assert found.span is not None and (found.span.file.name.endswith(NAME), found.span.line) == (True, 3)


def test_a_folder_comes_before_the_spec(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "vit", "architectures": ["ViTForImageClassification"]})
    )
    assert image_transform(tmp_path).resize == (224, 224)
    (tmp_path / NAME).write_text(json.dumps({"size": {"height": 96, "width": 80}}))
    assert image_transform(tmp_path).resize == (96, 80)


def test_a_spec_that_says_nothing_is_told_what_to_say() -> None:
    with pytest.raises(CompileError, match="does not say how pictures become pixels"):
        image_transform("starter_patchify")
