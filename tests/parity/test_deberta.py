"""DeBERTa v2 and v3 against transformers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, DebertaV2Model
from transformers.models.deberta_v2 import modeling_deberta_v2

import runtime
from compiler.diagnostics.diagnostic import CompileError
from tests.parity import encoders, hf
from tests.parity.encoders import HEAD
from tests.parity.harness import Case, check

#: Distances of up to 21 in eight steps on each side, so that near, far and clamped ones all occur.
SMALL = {
    "vocab_size": 101, "max_position_embeddings": 20, "type_vocab_size": 0, "hidden_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "position_buckets": 8,
    "relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm", "share_att_key": True,
}  # fmt: skip
HIDDEN = {"hidden": "last_hidden_state"}
#: The bias of a content key is felt where positions ask; that of a position's own key is not.
UNSEEN = re.compile(r"(.*\.)?attn\.pk\.bias")


@contextmanager
def without_casts() -> Iterator[None]:
    """The divisor of the scores in double precision too."""

    def root(query: torch.Tensor, count: int) -> torch.Tensor:
        return torch.tensor(query.shape[-1] * count, dtype=query.dtype).sqrt()

    with pytest.MonkeyPatch.context() as patch, hf.without_casts():
        patch.setattr(modeling_deberta_v2, "scaled_size_sqrt", root)
        yield


def case(kind: Any, config: dict[str, Any], length: int, names: dict[str, str]) -> Case:
    made = encoders.case(kind, DebertaV2Config(**SMALL | config), length, names, attention="eager")
    return replace(made, lifted=without_casts, unseen=UNSEEN)


CONFIGS: list[dict[str, Any]] = [
    {},
    {"num_hidden_layers": 11, "layer_norm_eps": 1e-3, "hidden_act": "relu", "position_buckets": 6},
    {"share_att_key": False, "pos_att_type": "c2p|p2c"},
    {"conv_kernel_size": 3, "conv_act": "gelu"},
    {"conv_kernel_size": 5, "num_hidden_layers": 1},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_encoder(config: dict[str, Any], tmp_path: Path) -> None:
    check(case(DebertaV2Model, config, 22, HIDDEN), tmp_path)


@pytest.mark.parametrize("config", [{}, {"num_labels": 5, "conv_kernel_size": 3}], ids=str)
def test_classifier(config: dict[str, Any], tmp_path: Path) -> None:
    check(case(DebertaV2ForSequenceClassification, config, 9, HEAD), tmp_path)


REFUSED = {
    "relative_attention": False, "position_biased_input": True, "pos_att_type": ["c2p"],
    "norm_rel_ebd": "none", "type_vocab_size": 2, "max_relative_positions": 40, "conv_groups": 2,
}  # fmt: skip


@pytest.mark.parametrize("key", REFUSED)
def test_what_the_spec_has_built_in(key: str, tmp_path: Path) -> None:
    """Another value is an error that names the key; so is silence, where transformers then takes another."""
    hf.save(hf.maker(DebertaV2Model, DebertaV2Config(**SMALL), "eager")(), tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {key: REFUSED[key]}))
    with pytest.raises(CompileError, match=f"`{key}` is"):
        runtime.load(tmp_path)
    if key not in ("type_vocab_size", "max_relative_positions", "conv_groups"):
        file.write_text(json.dumps({k: v for k, v in config.items() if k != key}))
        with pytest.raises(CompileError, match=f"has no `{key}`"):
            runtime.load(tmp_path)
