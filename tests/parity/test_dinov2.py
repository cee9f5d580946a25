"""DINOv2, with registers and with a classifier, against transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
)
from transformers.models.dinov2 import modeling_dinov2
from transformers.models.dinov2_with_registers import modeling_dinov2_with_registers

import runtime
from tests.parity import hf, images
from tests.parity.harness import check

SMALL = {
    "image_size": 24, "patch_size": 8, "num_channels": 2, "hidden_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 3, "mlp_ratio": 2,
}  # fmt: skip
PIXELS = {"pixels": images.pixels(2, 24)}
HIDING = {**PIXELS, "masked": torch.rand(3, 9, generator=torch.Generator().manual_seed(9)) < 0.4}
NAMES = {"hidden": "last_hidden_state", "pooled": "pooler_output"}
KINDS = [(Dinov2Model, Dinov2Config), (Dinov2WithRegistersModel, Dinov2WithRegistersConfig)]
each_kind = pytest.mark.parametrize(("kind", "config"), KINDS, ids=["plain", "registers"])
CONFIGS: list[dict[str, Any]] = [
    {},
    {"num_hidden_layers": 11, "qkv_bias": False, "layer_norm_eps": 1e-2, "hidden_act": "relu"},
    {"use_swiglu_ffn": True, "layerscale_value": 0.5},
]


@each_kind
@pytest.mark.parametrize("more", CONFIGS, ids=str)
def test_encoder(kind: Any, config: Any, more: dict[str, Any], tmp_path: Path) -> None:
    case = images.case(kind, config(**SMALL | more), NAMES, HIDING, renamed={"masked": "bool_masked_pos"})
    check(case, tmp_path)


class InDoubles:
    """torch, with its single precision lifted."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@contextmanager
def resampled_in_doubles() -> Iterator[None]:
    """The library resamples positions in single precision."""
    with pytest.MonkeyPatch.context() as patch, hf.without_casts():
        for module in (modeling_dinov2, modeling_dinov2_with_registers):
            patch.setattr(module, "torch", InDoubles())
        yield


@each_kind
@pytest.mark.parametrize("size", [40, 16])
def test_another_image_size(kind: Any, config: Any, size: int, tmp_path: Path) -> None:
    masked = torch.rand(3, (size // 8) ** 2, generator=torch.Generator().manual_seed(9)) < 0.4
    inputs = {"pixels": images.pixels(2, size), "masked": masked}
    load = partial(runtime.load, set={"input_image": size})
    case = images.case(kind, config(**SMALL), NAMES, inputs, renamed={"masked": "bool_masked_pos"}, load=load)
    check(replace(case, lifted=resampled_in_doubles), tmp_path)


@pytest.mark.parametrize("more", [{"num_labels": 5}, {"use_swiglu_ffn": True}], ids=str)
def test_classifier(more: dict[str, Any], tmp_path: Path) -> None:
    config = Dinov2Config(**SMALL, use_mask_token=False, **more)
    inputs = {**PIXELS, "labels": torch.tensor([1, 0, 1])}
    names = {"logits": "logits", "loss": "loss"}
    check(images.case(Dinov2ForImageClassification, config, names, inputs), tmp_path)


def test_a_classifier_with_the_token_of_pre_training(tmp_path: Path) -> None:
    case = images.case(Dinov2ForImageClassification, Dinov2Config(**SMALL), {"logits": "logits"}, PIXELS)
    check(replace(case, reopen=None), tmp_path)
