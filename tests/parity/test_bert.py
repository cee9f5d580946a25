"""BERT, with its pooler and with its head, against transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel

import runtime
from tests.parity import encoders, tables
from tests.parity.encoders import BOTH_HEADS, HEAD, TRUNK
from tests.parity.harness import check

SMALL = {
    "vocab_size": 101, "max_position_embeddings": 19, "type_vocab_size": 3, "hidden_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
}  # fmt: skip
KINDS = [(BertModel, TRUNK), (BertForMaskedLM, HEAD)]
each_kind = pytest.mark.parametrize(("kind", "names"), KINDS, ids=["pooler", "head"])


@each_kind
@pytest.mark.parametrize("length", [9, 19])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_and_length(
    kind: Any, names: dict[str, str], attention: str, length: int, tmp_path: Path
) -> None:
    check(encoders.case(kind, BertConfig(**SMALL), length, names, attention=attention), tmp_path)


CONFIGS: list[dict[str, Any]] = [
    {"num_hidden_layers": 11},
    {"layer_norm_eps": 1e-2},
    *({"hidden_act": name} for name in tables.activations("bert.hf", "hidden_act")),
]


@each_kind
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_config(kind: Any, names: dict[str, str], config: dict[str, Any], tmp_path: Path) -> None:
    check(encoders.case(kind, BertConfig(**SMALL | config), 9, names), tmp_path)


def test_both_heads_of_pre_training(tmp_path: Path) -> None:
    """The pooler and the sentence head are left out of ours, so the way back makes a smaller model."""
    case = encoders.case(BertForPreTraining, BertConfig(**SMALL), 9, BOTH_HEADS)
    check(replace(case, reopen=None), tmp_path)


def test_the_trunk_of_pre_training(tmp_path: Path) -> None:
    """The spec without heads reads the same folder; transformers keeps that trunk under `bert`."""
    sizes = {"vocab": 101, "context": 19, "types": 3, "dim": 24, "depth": 2, "heads": 3, "hidden": 40}

    def load(folder: Path) -> nn.Module:
        return runtime.load("bert", weights=folder, set=sizes)

    case = encoders.case(BertForPreTraining, BertConfig(**SMALL), 9, TRUNK, load=load)
    ask = case.theirs
    check(replace(case, reopen=None, theirs=lambda model: ask(model.get_submodule("bert"))), tmp_path)


@pytest.mark.long
@each_kind
def test_full_size(kind: Any, names: dict[str, str], tmp_path: Path) -> None:
    check(encoders.case(kind, BertConfig(), 24, names), tmp_path)
