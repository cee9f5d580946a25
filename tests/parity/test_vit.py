"""ViT against transformers and timm."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTModel

import runtime
from tests.parity import images
from tests.parity.harness import check

SMALL = {
    "image_size": 24, "patch_size": 8, "num_channels": 2, "hidden_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 3, "intermediate_size": 40, "num_labels": 5,
}  # fmt: skip
PIXELS = {"pixels": images.pixels(2, 24)}
TRUNK = {"hidden": "last_hidden_state", "pooled": "pooler_output"}
HEAD = {"logits": "logits"}
KINDS = [(ViTModel, TRUNK), (ViTForImageClassification, HEAD)]
each_kind = pytest.mark.parametrize(("kind", "names"), KINDS, ids=["encoder", "classifier"])


CONFIGS: list[dict[str, Any]] = [
    {},
    {"num_hidden_layers": 11, "layer_norm_eps": 1e-2, "qkv_bias": False, "hidden_act": "relu"},
]


@each_kind
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_config(kind: Any, names: dict[str, str], config: dict[str, Any], tmp_path: Path) -> None:
    check(images.case(kind, ViTConfig(**SMALL | config), names, PIXELS), tmp_path)


def test_loss(tmp_path: Path) -> None:
    inputs = {**PIXELS, "labels": torch.tensor([3, 0, 4])}
    names = {"logits": "logits", "loss": "loss"}
    check(
        images.case(ViTForImageClassification, ViTConfig(**SMALL), names, inputs, attention="eager"), tmp_path
    )


@each_kind
@pytest.mark.parametrize("size", [40, 16])
def test_another_image_size(kind: Any, names: dict[str, str], size: int, tmp_path: Path) -> None:
    inputs = {"pixels": images.pixels(2, size)}
    load = partial(runtime.load, set={"input_image": size})
    case = images.case(kind, ViTConfig(**SMALL), names, inputs, load=load, interpolate_pos_encoding=True)
    check(case, tmp_path)


TIMM = {
    "img_size": 24, "patch_size": 8, "in_chans": 2, "embed_dim": 24, "depth": 11, "num_heads": 3,
    "mlp_ratio": 1.5, "num_classes": 5,
}  # fmt: skip
SIZES = {
    "image": 24, "patch": 8, "channels": 2, "dim": 24, "depth": 11, "heads": 3, "hidden": 36, "classes": 5,
    "eps": 1e-6,
}  # fmt: skip
MEAN = {"class_token": False, "global_pool": "avg", "fc_norm": False}


@pytest.mark.parametrize(
    ("spec", "options"),
    [("vit", {}), ("vit", {"qkv_bias": False}), ("vit_gap", MEAN)],
    ids=str,
)
def test_timm(spec: str, options: dict[str, Any], tmp_path: Path) -> None:
    sizes = SIZES | {"bias": options.get("qkv_bias", True)}

    def make() -> nn.Module:
        return timm.models.vision_transformer.VisionTransformer(**TIMM, **options)

    check(images.timm_case(spec, sizes, PIXELS, make), tmp_path)


class Embed(nn.Module):
    """Patches, normalised and embedded, in place of timm's convolution."""

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **_: Any) -> None:
        super().__init__()
        self.num_patches, self.side = (img_size // patch_size) ** 2, patch_size
        self.norm = nn.LayerNorm(in_chans * patch_size**2)
        self.proj = nn.Linear(in_chans * patch_size**2, embed_dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.unfold(2, self.side, self.side).unfold(3, self.side, self.side)
        return self.proj(self.norm(rows.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)))


MAP = """
weightmap: 1
spec: simple_vit
dialect: timm
index: {i: =depth, p: [weight, bias]}
rules:
  - patch_embed.norm.{p} <> seq.{p}
  - patch_embed.proj.weight <> embed.weight
  - pos_embed <> pos as 1 n d -> n d
  - norm.{p} <> norm.{p}
  - head.{p} <> head.{p}
  - under: "blocks.{i}. <> h.{i}."
    rules:
      - norm(1|2).{p} <> ln_(1|2).{p}
      - attn.qkv.weight <> attn.[q|k|v].weight as [n|n|n] d -> * d
      - attn.proj.weight <> attn.o.weight
      - mlp.fc(1|2).{p} <> mlp.(up|down).{p}
"""


def test_simple_vit(tmp_path: Path) -> None:
    """Against timm's layers with another embedding, and without the bias behind their attention."""

    def make() -> nn.Module:
        options: dict[str, Any] = {**TIMM, **MEAN, "embed_layer": Embed, "norm_layer": nn.LayerNorm}
        model = timm.models.vision_transformer.VisionTransformer(**options, qkv_bias=False)
        for block in model.blocks:
            block.attn.proj = nn.Linear(24, 24, bias=False)
        return model

    place = tmp_path / "simple_vit.timm.yaml"
    place.write_text(MAP)
    case = images.timm_case("simple_vit", SIZES | {"eps": 1e-5}, PIXELS, make, weightmap=place)
    check(replace(case, reopen=None), tmp_path)
