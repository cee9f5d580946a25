"""LLaMA against transformers. Their RMSNorm casts to single precision inside, which the harness lifts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

import runtime
from compiler.diagnostics.diagnostic import CompileError
from tests.parity import decoders, hf, tables
from tests.parity.harness import check

SMALL = {
    "vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 10, "intermediate_size": 44, "max_position_embeddings": 48,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
}  # fmt: skip
#: The middle band of frequencies, the slow one and the fast one all exist at this size.
SCALED = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0,
    "high_freq_factor": 3.0, "original_max_position_embeddings": 24,
}  # fmt: skip


@pytest.mark.parametrize("length", [9, 48])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_and_length(attention: str, length: int, tmp_path: Path) -> None:
    check(decoders.case(LlamaForCausalLM, LlamaConfig(**SMALL), length, attention), tmp_path)


CONFIGS: list[dict[str, Any]] = [
    {"num_hidden_layers": 11},
    {"tie_word_embeddings": True},
    {"num_key_value_heads": 6},
    {"num_key_value_heads": 1},
    {"head_dim": None},
    {"rms_norm_eps": 1e-2},
    {"rope_parameters": SCALED},
    *({"hidden_act": name} for name in tables.activations("llama.hf", "hidden_act")),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_config(config: dict[str, Any], tmp_path: Path) -> None:
    check(decoders.case(LlamaForCausalLM, LlamaConfig(**SMALL | config), 40), tmp_path)


def save_as_version_4(model: Any, folder: Path) -> None:
    """The rotation stood in two keys, and its type had another name."""
    hf.save(model, folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    scaling = config.pop("rope_parameters")
    config["rope_theta"] = scaling.pop("rope_theta")
    config["rope_scaling"] = None if scaling["rope_type"] == "default" else scaling
    config["torch_dtype"] = config.pop("dtype")
    file.write_text(json.dumps(config))


@pytest.mark.parametrize("rope", [SMALL["rope_parameters"], SCALED], ids=["default", "llama3"])
def test_older_spelling_of_the_rotation(rope: dict[str, Any], tmp_path: Path) -> None:
    case = decoders.case(LlamaForCausalLM, LlamaConfig(**SMALL | {"rope_parameters": rope}), 40)
    check(replace(case, save=save_as_version_4), tmp_path)


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("kind", ["dynamic", "yarn"])
def test_other_scalings_are_refused_by_name(kind: str, older: bool, tmp_path: Path) -> None:
    rope = {"rope_type": kind, "rope_theta": 500.0, "factor": 2.0}
    model = hf.maker(LlamaForCausalLM, LlamaConfig(**SMALL | {"rope_parameters": rope}))()
    (save_as_version_4 if older else hf.save)(model, tmp_path)
    with pytest.raises(CompileError, match=f'`rope_parameters.rope_type` is "?{kind}"?, which'):
        runtime.load(tmp_path)


@pytest.mark.long
def test_full_size(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        intermediate_size=1536, max_position_embeddings=8192, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
    )  # fmt: skip
    check(decoders.case(LlamaForCausalLM, config, 24), tmp_path)
