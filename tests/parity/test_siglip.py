"""SigLIP against transformers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from transformers import SiglipConfig, SiglipModel

import runtime
from compiler.diagnostics.diagnostic import CompileError
from tests.parity import clip, hf
from tests.parity.harness import Case, check

TEXT = {
    "vocab_size": 103, "max_position_embeddings": 11, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 56, "projection_size": 24,
}  # fmt: skip
VISION = {
    "image_size": 28, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3,
    "intermediate_size": 40,
}  # fmt: skip


def case(text: dict[str, Any], vision: dict[str, Any], length: int) -> Case:
    """The image is no whole number of patches wide; the rest is left out."""
    asked = clip.questions(28, 103, length)
    config = SiglipConfig(text_config=TEXT | text, vision_config=VISION | vision)
    return Case(
        make=hf.maker(SiglipModel, config),
        save=hf.save,
        load=runtime.load,
        theirs=partial(clip.ask_theirs, asked=asked),
        ours=partial(clip.ask_ours, asked=asked),
        dialect="hf",
        reopen=hf.opener(SiglipModel),
        same_file=True,
        lifted=hf.without_casts,
    )


CONFIGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    (
        {"num_hidden_layers": 11, "hidden_act": "gelu", "layer_norm_eps": 1e-2},
        {"hidden_act": "gelu", "layer_norm_eps": 1e-2},
    ),
]


@pytest.mark.parametrize(("text", "vision"), CONFIGS, ids=str)
@pytest.mark.parametrize("length", [7, 11])
def test_both_towers(text: dict[str, Any], vision: dict[str, Any], length: int, tmp_path: Path) -> None:
    check(case(text, vision, length), tmp_path)


@pytest.mark.parametrize(
    ("text", "vision", "key"),
    [
        ({"hidden_act": "gelu"}, {}, "gelu here, but the spec siglip has one `act`"),
        ({"projection_size": 20}, {}, "20 here, but the spec siglip has one `v_dim`"),
        ({}, {"vision_use_head": False}, "`vision_config.vision_use_head` is false"),
    ],
)
def test_what_the_spec_cannot_express(
    text: dict[str, Any], vision: dict[str, Any], key: str, tmp_path: Path
) -> None:
    config = SiglipConfig(
        text_config=TEXT | text, vision_config=VISION | vision, architectures=["SiglipModel"]
    )
    config.save_pretrained(tmp_path)
    with pytest.raises(CompileError, match=key):
        runtime.load(tmp_path)
