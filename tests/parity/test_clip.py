"""CLIP against transformers, open_clip and OpenAI's own model code."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPConfig, CLIPModel

import runtime
from tests.artifacts import need
from tests.parity import clip, hf, tables
from tests.parity.harness import Case, Tensors, check

VOCAB, CONTEXT, IMAGE = 103, 11, 24
TEXT = {
    "vocab_size": VOCAB, "max_position_embeddings": CONTEXT, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 56, "eos_token_id": 2,
}  # fmt: skip
VISION = {
    "image_size": IMAGE, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3,
    "intermediate_size": 40,
}  # fmt: skip
OPENAI = {
    "embed_dim": 20, "image_resolution": IMAGE, "vision_layers": 11, "vision_width": 128,
    "vision_patch_size": 8, "context_length": CONTEXT, "vocab_size": VOCAB, "transformer_width": 32,
    "transformer_heads": 2, "transformer_layers": 2,
}  # fmt: skip
#: OpenAI's names for sizes, in the order of the constructor, as ours.
SIZES = ("embed", "image", "v_depth", "v_dim", "patch", "context", "vocab", "t_dim", "t_heads", "t_depth")


def transformers_case(config: Any, asked: tuple[clip.Question, ...], attention: str = "sdpa") -> Case:
    return Case(
        make=hf.maker(CLIPModel, config, attention),
        save=hf.save,
        load=runtime.load,
        theirs=partial(clip.ask_theirs, asked=asked),
        ours=partial(clip.ask_ours, asked=asked),
        dialect="hf",
        reopen=hf.opener(CLIPModel, attention),
        same_file=True,
        lifted=hf.without_casts,
    )


def small(text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None) -> CLIPConfig:
    return CLIPConfig(
        text_config=TEXT | (text or {}), vision_config=VISION | (vision or {}), projection_dim=20
    )


@pytest.mark.parametrize("length", [7, CONTEXT])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_transformers(attention: str, length: int, tmp_path: Path) -> None:
    check(transformers_case(small(), clip.questions(IMAGE, VOCAB, length), attention), tmp_path)


@pytest.mark.parametrize("name", tables.activations("clip_vitb32.hf", "text_config.hidden_act"))
def test_activations(name: str, tmp_path: Path) -> None:
    config = small({"hidden_act": name}, {"hidden_act": name})
    check(transformers_case(config, clip.questions(IMAGE, VOCAB, 7)), tmp_path)


def test_eleven_layers(tmp_path: Path) -> None:
    config = small({"num_hidden_layers": 11}, {"num_hidden_layers": 12})
    check(transformers_case(config, clip.questions(IMAGE, VOCAB, 7)), tmp_path)


def test_a_named_end_of_text(tmp_path: Path) -> None:
    """The first token of that id ends a text, though larger ones stand before it."""
    config = small({"eos_token_id": 57})
    check(transformers_case(config, clip.questions(IMAGE, VOCAB, 7, eot=57)), tmp_path)


def original_case(
    make: Callable[[], nn.Module],
    ask: Callable[..., Tensors],
    asked: tuple[clip.Question, ...],
    sizes: dict[str, Any],
) -> Case:
    """A model whose state dict has OpenAI's names; it takes no mask, and texts as long as the context."""

    def load(folder: Path) -> nn.Module:
        (file,) = (f for f in folder.iterdir() if f.suffix in (".pt", ".safetensors"))
        return runtime.load("clip_vitb32", weights=file, set=sizes)

    def reopen(folder: Path) -> nn.Module:
        model = make()
        state = load_file(folder / "model.safetensors")
        model.to(state["logit_scale"].dtype).load_state_dict(state, strict=True)
        return model

    return Case(
        make=make,
        save=lambda model, folder: torch.save(model.state_dict(), folder / "clip.pt"),
        load=load,
        theirs=partial(ask, asked=asked[:1]),
        ours=partial(clip.ask_ours, asked=asked[:1]),
        dialect="openai",
        reopen=reopen,
        lifted=without_casts,
    )


@pytest.mark.parametrize("quick", [True, False])
def test_open_clip(quick: bool, tmp_path: Path) -> None:
    open_clip = importlib.import_module("open_clip")

    def make() -> nn.Module:
        vision = open_clip.CLIPVisionCfg(
            layers=11, width=24, head_width=8, mlp_ratio=1.5, patch_size=8, image_size=IMAGE
        )
        text = open_clip.CLIPTextCfg(
            context_length=CONTEXT, vocab_size=VOCAB, width=32, heads=2, layers=2, mlp_ratio=2.5
        )
        return open_clip.CLIP(20, vision, text, quick_gelu=quick)

    sizes = {
        "embed": 20, "image": IMAGE, "patch": 8, "v_depth": 11, "v_dim": 24, "v_heads": 3, "v_hidden": 36,
        "vocab": VOCAB, "context": CONTEXT, "t_dim": 32, "t_heads": 2, "t_depth": 2, "t_hidden": 80,
        "act": "quick_gelu" if quick else "gelu",
    }  # fmt: skip
    check(original_case(make, clip.ask_open_clip, clip.questions(IMAGE, VOCAB, CONTEXT), sizes), tmp_path)


@cache
def openai_code() -> ModuleType:
    """OpenAI's model.py alone, without the package around it."""
    place = importlib.util.spec_from_file_location("openai_clip_model", need("clip-code"))
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


@contextmanager
def without_casts() -> Iterator[None]:
    """OpenAI's LayerNorm casts to single precision inside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_code().LayerNorm, "forward", nn.LayerNorm.forward)
        yield


def openai_case(sizes: dict[str, int]) -> Case:
    ours = {**dict(zip(SIZES, sizes.values(), strict=True)), "v_heads": sizes["vision_width"] // 64}
    asked = clip.questions(sizes["image_resolution"], sizes["vocab_size"], sizes["context_length"])
    return original_case(lambda: openai_code().CLIP(**sizes), clip.ask_openai, asked, ours)


def test_openai(tmp_path: Path) -> None:
    check(openai_case(OPENAI), tmp_path)


def save_as_torchscript(model: Any, folder: Path) -> None:
    """As the published archives are written."""
    (question,) = clip.questions(IMAGE, VOCAB, CONTEXT)[:1]
    with without_casts():
        trace: Any = torch.jit.trace
        traced = trace(model, (question.pixels.to(model.dtype), question.tokens))
    traced.save(folder / "clip.pt")


@pytest.mark.filterwarnings("ignore")
def test_openai_torchscript(tmp_path: Path) -> None:
    check(replace(openai_case(OPENAI), save=save_as_torchscript), tmp_path)


@pytest.mark.long
def test_transformers_full_size(tmp_path: Path) -> None:
    check(transformers_case(CLIPConfig(), clip.questions(224, 49408, 16, eot=49407)), tmp_path)


@pytest.mark.long
def test_open_clip_full_size(tmp_path: Path) -> None:
    open_clip = importlib.import_module("open_clip")

    def make() -> nn.Module:
        return open_clip.create_model("ViT-B-32-quickgelu")

    check(original_case(make, clip.ask_open_clip, clip.questions(224, 49408, 77), {}), tmp_path)


@pytest.mark.long
def test_openai_full_size(tmp_path: Path) -> None:
    sizes = dict(zip(OPENAI, (512, 224, 12, 768, 32, 77, 49408, 512, 8, 12), strict=True))
    check(openai_case(sizes), tmp_path)
