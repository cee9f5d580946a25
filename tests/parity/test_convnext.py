"""ConvNeXt against torchvision and timm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

import compiler
import runtime
from tests.parity.harness import Case, Tensors, check, comparison, randomised

WIDTHS, DEPTHS, CLASSES, IMAGE = [8, 12, 20, 28], [2, 1, 11, 1], 7, 64
SIZES = {"widths": WIDTHS, "depths": DEPTHS, "image": IMAGE}


def torchvision_model() -> nn.Module:
    stages = [CNBlockConfig(*s) for s in zip(WIDTHS, [*WIDTHS[1:], None], DEPTHS, strict=True)]
    return ConvNeXt(stages, num_classes=CLASSES)


def timm_model(classes: int = CLASSES) -> nn.Module:
    return timm.models.ConvNeXt(dims=WIDTHS, depths=DEPTHS, num_classes=classes)


def pixels(model: nn.Module, batch: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    dtype = next(model.parameters()).dtype
    return torch.randn(batch, 3, IMAGE, IMAGE, dtype=dtype, generator=draw)


def case(
    make: Callable[[], nn.Module], spec: str, sizes: dict[str, Any], dialect: str, theirs: Any, ours: Any
) -> Case:
    """A model of torch alone, whose state dict is its checkpoint."""

    def reopen(folder: Path) -> nn.Module:
        model, state = make(), load_file(folder / "model.safetensors")
        model.to(next(iter(state.values())).dtype).load_state_dict(state, strict=True)
        return model

    return Case(
        make=make,
        save=lambda model, folder: torch.save(model.state_dict(), folder / "model.pt"),
        load=lambda folder: runtime.load(spec, weights=next(folder.glob("model.*")), set=sizes),
        theirs=theirs,
        ours=ours,
        dialect=dialect,
        reopen=reopen,
    )


def logits(model: nn.Module) -> Tensors:
    return {"logits": model(pixels(model))}


@pytest.mark.parametrize(("dialect", "make"), [("torchvision", torchvision_model), ("timm", timm_model)])
def test_convnext(dialect: str, make: Callable[[], nn.Module], tmp_path: Path) -> None:
    check(case(make, "convnext", {**SIZES, "classes": CLASSES}, dialect, logits, logits), tmp_path)


def test_convnext_tiny(tmp_path: Path) -> None:
    """The published size, on a small image."""
    theirs = randomised(torchvision.models.convnext_tiny().eval().double())
    torch.save(theirs.state_dict(), tmp_path / "convnext_tiny.pth")
    ours = runtime.load("convnext:tiny", weights=tmp_path / "convnext_tiny.pth", set={"image": IMAGE})
    with torch.no_grad():
        comparison(logits(theirs), torch.float64)(logits(ours))


@pytest.mark.parametrize("name", ["tiny", "small", "base", "large"])
def test_size(name: str) -> None:
    with torch.device("meta"):
        theirs = sum(p.numel() for p in getattr(torchvision.models, f"convnext_{name}")().parameters())
    assert sum(p.numel for p in compiler.compile(f"convnext:{name}").table.parameters) == theirs
