"""GPT-2 against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from tests.parity import decoders, tables
from tests.parity.harness import check

SMALL = {"vocab_size": 101, "n_positions": 17, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_inner": 40}


@pytest.mark.parametrize("length", [9, 17])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_and_length(attention: str, length: int, tmp_path: Path) -> None:
    check(decoders.case(GPT2LMHeadModel, GPT2Config(**SMALL), length, attention), tmp_path)


CONFIGS: list[dict[str, Any]] = [
    {"n_layer": 11},
    {"n_inner": None},
    {"layer_norm_epsilon": 1e-2},
    *({"activation_function": name} for name in tables.activations("gpt2.hf", "activation_function")),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_config(config: dict[str, Any], tmp_path: Path) -> None:
    check(decoders.case(GPT2LMHeadModel, GPT2Config(**SMALL | config), 9), tmp_path)


@pytest.mark.long
def test_full_size(tmp_path: Path) -> None:
    check(decoders.case(GPT2LMHeadModel, GPT2Config(), 24), tmp_path)
