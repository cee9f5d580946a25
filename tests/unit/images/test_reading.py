"""Pictures of every kind, as their files have them, and what is no picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor
from transformers.image_utils import load_image

from compiler.diagnostics.diagnostic import CompileError
from runtime.images import ImageTransform
from tests.unit.images.samples import picture, saved

AS_IT_IS = ImageTransform(None, None, "bilinear", (0.0,) * 3, (1.0,) * 3)


def levels(transform: ImageTransform, given: Any) -> torch.Tensor:
    return transform.denormalize(transform(given))[0]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "LA", "RGBA", "P", "CMYK"])
def test_modes_as_transformers_reads_them(mode: str, tmp_path: Path) -> None:
    """Alpha is dropped, not blended; a palette is looked up."""
    image = picture(37, 21).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(picture(37, 21, seed=1).convert("L"))
    path = saved(tmp_path, image, "picture.tif" if mode == "CMYK" else "picture.png")
    expected = pil_to_tensor(load_image(str(path)))
    assert torch.equal(levels(AS_IT_IS, path), expected)
    assert torch.equal(levels(AS_IT_IS, image), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_files_are_turned_as_they_say(orientation: int, tmp_path: Path) -> None:
    """As transformers reads files; an image that was opened by others is taken as it stands."""
    image, exif = picture(37, 21), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    expected = pil_to_tensor(load_image(str(tmp_path / "turned.png")))
    assert torch.equal(levels(AS_IT_IS, tmp_path / "turned.png"), expected)
    assert expected.shape == ((3, 21, 37) if orientation < 5 else (3, 37, 21))
    with Image.open(tmp_path / "turned.png") as opened:
        assert torch.equal(levels(AS_IT_IS, opened), pil_to_tensor(image))


def test_sixteen_bits_keep_their_upper_half(tmp_path: Path) -> None:
    """Pillow cuts grey values of 16 bits at 255, and transformers with it: nearly all is white then."""
    wide = np.arange(48 * 32, dtype=np.uint16).reshape(48, 32) * 42
    path = saved(tmp_path, Image.fromarray(wide))
    expected = torch.from_numpy((wide >> 8).astype(np.uint8)).expand(3, -1, -1)
    assert torch.equal(levels(AS_IT_IS, path), expected)
    assert (pil_to_tensor(load_image(str(path))) == 255).float().mean() > 0.9


def test_one_channel() -> None:
    grey = ImageTransform((8, 8), None, "bilinear", (0.5,), (0.5,))
    assert grey(picture(37, 21)).shape == (1, 1, 8, 8)


def test_two_channels_are_not_read() -> None:
    with pytest.raises(CompileError, match="pictures of 2 channels"):
        ImageTransform(None, None, "bilinear", (0.5,) * 2, (0.5,) * 2)


def test_denormalize_gives_the_picture_back() -> None:
    given = torch.randint(0, 256, (2, 3, 24, 31), dtype=torch.uint8)
    clip = ImageTransform(None, None, "bicubic", (0.48, 0.45, 0.40), (0.26, 0.27, 0.28))
    assert torch.equal(clip.denormalize(clip(list(given))), given)
    assert clip.denormalize(torch.full((1, 3, 2, 2), 99.0)).min() == 255


def test_tensors_are_resized_by_what_pillow_alone_has() -> None:
    box = ImageTransform((9, 11), None, "box", (0.0,) * 3, (1.0,) * 3)
    image = picture(37, 21)
    assert torch.equal(box(pil_to_tensor(image)), box(image))


def fault(given: Any, transform: ImageTransform = AS_IT_IS) -> str:
    with pytest.raises(CompileError) as caught:
        transform(given)
    return str(caught.value)


def test_what_is_no_picture_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png" in fault(tmp_path / "text.png")
    whole = saved(tmp_path, picture(300, 300)).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    assert "half.png" in fault(tmp_path / "half.png")
    assert "there is no picture" in fault(tmp_path / "none.png")
    assert "no picture" in fault(tmp_path)
    assert "known range" in fault(saved(tmp_path, Image.new("F", (4, 4)), "wide.tif"))
    assert "uint8[3, H, W], not float32[3, 4, 4]" in fault(torch.zeros(3, 4, 4))
    assert "too large" in fault(
        Image.new("RGB", (1, 60_000)), ImageTransform(224, (224, 224), "bilinear", (0.0,) * 3, (1.0,) * 3)
    )
    assert "make no batch" in fault([picture(4, 5), picture(5, 4)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "picture.png" in fault(tmp_path / "picture.png")
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    assert 'pip install "blockwright[vision]"' in fault(picture(4, 5))
