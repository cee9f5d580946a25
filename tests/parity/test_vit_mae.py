"""Masked autoencoders against transformers, and against the research code's layout made of timm's layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import ViTMAEConfig, ViTMAEForPreTraining, ViTMAEModel
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

import compiler
import runtime
from tests.parity import images
from tests.parity.harness import Case, Tensors, check
from tests.parity.images import in_precision
from tests.parity.mae import Autoencoder

SMALL = {
    "image_size": 24, "patch_size": 8, "num_channels": 2, "hidden_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 3, "intermediate_size": 40, "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 3,
    "decoder_num_attention_heads": 2, "decoder_intermediate_size": 28, "mask_ratio": 0.6,
}  # fmt: skip
DRAW = torch.Generator().manual_seed(9)
INPUTS = {"pixels": images.pixels(2, 24), "noise": torch.rand(3, 9, generator=DRAW, dtype=torch.float64)}
NAMES = {"logits": "logits", "loss": "loss", "mask": "mask"}
CONFIGS: list[dict[str, Any]] = [
    {},
    {"norm_pix_loss": True, "qkv_bias": False, "layer_norm_eps": 1e-2, "hidden_act": "relu"},
    {"num_hidden_layers": 11, "decoder_num_hidden_layers": 12, "mask_ratio": 0.75},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_pre_training(config: dict[str, Any], tmp_path: Path) -> None:
    check(images.case(ViTMAEForPreTraining, ViTMAEConfig(**SMALL | config), NAMES, INPUTS), tmp_path)


@pytest.mark.parametrize("norm_pix", [False, True])
def test_reconstruction(norm_pix: bool, tmp_path: Path) -> None:
    """The image that transformers puts together from its answers, the seen patches as they were."""

    def theirs(model: Any) -> Tensors:
        given = in_precision(model, INPUTS)
        answer = model(pixel_values=given["pixels"], noise=given["noise"])
        rows, patches = answer.logits, model.patchify(given["pixels"])
        if norm_pix:
            rows = rows * (patches.var(-1, keepdim=True) + 1e-6) ** 0.5 + patches.mean(-1, keepdim=True)
        whole = torch.where(answer.mask[:, :, None] == 1, rows, patches)
        return {"pixels": model.unpatchify(whole)}

    def ours(model: Any) -> Tensors:
        return {"pixels": model.reconstruct(**in_precision(model, INPUTS))}

    config = ViTMAEConfig(**SMALL, norm_pix_loss=norm_pix)
    case = images.case(ViTMAEForPreTraining, config, NAMES, INPUTS)
    check(replace(case, theirs=theirs, ours=ours), tmp_path)


HIDDEN = {"hidden": "last_hidden_state"}
SORTED = torch.arange(9.0).expand(3, 9)


def test_the_encoder_alone(tmp_path: Path) -> None:
    """transformers, told to hide nothing and to leave the patches in their order."""
    inputs = {"pixels": INPUTS["pixels"]}
    config = ViTMAEConfig(**SMALL | {"mask_ratio": 0.0})
    check(images.case(ViTMAEModel, config, HIDDEN, inputs, noise=SORTED), tmp_path)


def test_the_encoder_of_pre_training(tmp_path: Path) -> None:
    """It reads the whole model's folder and leaves the decoder out; with images of another size, too."""
    sizes = {"image": 24, "patch": 8, "channels": 2, "dim": 24, "depth": 2, "heads": 3, "hidden": 40}
    inputs = {"pixels": images.pixels(2, 40)}

    def load(folder: Path) -> nn.Module:
        return runtime.load("vit_mae_encoder", weights=folder, set=sizes | {"input_image": 40})

    noise = torch.arange(25.0).expand(3, 25)
    case = images.case(
        ViTMAEForPreTraining, ViTMAEConfig(**SMALL | {"mask_ratio": 0.0}), HIDDEN, inputs, load=load,
        noise=noise, interpolate_pos_encoding=True,
    )  # fmt: skip
    ask = case.theirs
    check(replace(case, reopen=None, theirs=lambda model: ask(model.get_submodule("vit"))), tmp_path)


SIZES = {
    "image": 24, "patch": 8, "channels": 2, "dim": 24, "depth": 11, "heads": 3, "hidden": 36, "keep": 4,
    "dec_dim": 16, "dec_depth": 2, "dec_heads": 2, "dec_hidden": 24, "eps": 1e-5,
}  # fmt: skip


def save(model: nn.Module, folder: Path) -> None:
    """With what the research code keeps beside the weights."""
    torch.save({"model": model.state_dict(), "epoch": 3}, folder / "checkpoint.pth")


def research_case(
    spec: str, sizes: dict[str, Any], ask: Callable[..., Tensors], weightmap: Path | None = None
) -> Case:
    def load(folder: Path) -> nn.Module:
        (file,) = (f for f in folder.iterdir() if f.suffix in (".pth", ".safetensors"))
        dialect = None if weightmap else "facebook"
        return runtime.load(spec, weights=file, set=sizes, dialect=dialect, weightmap=weightmap)

    def reopen(folder: Path) -> nn.Module:
        model, state = Autoencoder(SIZES), load_file(folder / "model.safetensors")
        model.to(state["cls_token"].dtype).load_state_dict(state, strict=True)
        return model

    return Case(
        make=partial(Autoencoder, SIZES),
        save=save,
        load=load,
        theirs=lambda model: ask(model, in_precision(model, INPUTS)),
        ours=partial(images.ask_ours, inputs=INPUTS, names=NAMES),
        dialect="facebook",
        reopen=reopen,
    )


def test_the_research_code(tmp_path: Path) -> None:
    check(research_case("vit_mae", SIZES, lambda model, given: model(**given)), tmp_path)


def test_the_encoder_of_the_research_code(tmp_path: Path) -> None:
    sizes = {k: v for k, v in SIZES.items() if not k.startswith(("dec", "keep"))}
    names, inputs = {"hidden": ""}, {"pixels": INPUTS["pixels"]}
    case = research_case(
        "vit_mae_encoder", sizes, lambda model, given: {"hidden": model.encode(given["pixels"], None)}
    )
    check(replace(case, reopen=None, ours=partial(images.ask_ours, inputs=inputs, names=names)), tmp_path)


MAP = """
weightmap: 1
spec: simple_mae
dialect: test
index: {i: =depth, j: =dec_depth, p: [weight, bias]}
unwrap: [model]
rules:
  - pos_embed <> pos as 1 n d -> n d
  - patch_embed.proj.{p} <> patches.{p}
  - {under: "blocks.{i}. <> h.{i}.", include: [timm_vit_block]}
  - norm.{p} <> norm.{p}
  - decoder_embed.{p} <> d_embed.{p}
  - mask_token <> blank as 1 1 d -> d
  - decoder_pos_embed <> d_pos as 1 n d -> n d
  - {under: "decoder_blocks.{j}. <> decoder.{j}.", include: [timm_vit_block]}
  - decoder_(norm|pred).{p} <> (d_norm|pred).{p}
"""


def test_without_a_class_token(tmp_path: Path) -> None:
    place = tmp_path / "simple_mae.test.yaml"
    place.write_text(MAP)
    case = research_case("simple_mae", SIZES, lambda model, given: model(**given), weightmap=place)
    check(replace(case, make=partial(Autoencoder, SIZES, cls=False), reopen=None), tmp_path)


def test_fresh_positions_are_the_published_waves() -> None:
    """transformers' function gives rows before columns; the published weights have columns first."""
    sizes = {"image": 24, "patch": 8, "dim": 24, "heads": 3, "dec_dim": 16, "dec_heads": 2, "depth": 1}
    ours: Any = compiler.build("vit_mae", set=sizes)
    for table, width in ((ours.pos, 24), (ours.d_pos, 16)):
        waves = build_2d_sinusoidal_position_embedding(height=3, width=3, embed_dim=width)
        torch.testing.assert_close(table.data, waves.roll(width // 2, -1))
    assert not ours.cls_pos.any() and not ours.d_cls_pos.any()
    fixed = {name for name, p in ours.named_parameters() if not p.requires_grad}
    assert fixed == {"pos", "cls_pos", "d_pos", "d_cls_pos"}


def test_trainable_parameters_of_the_small_model() -> None:
    model = compiler.build("simple_mae:small", device="meta")
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 5_861_376
