"""The plans against transformers' own: every key that its models have, in its names, by our weight maps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import compiler
import runtime
from compiler.parallel.placement import place
from compiler.parallel.translate import translated
from compiler.weights.library import Library
from compiler.weights.plan import plan_export

#: spec -> the class, and of its plan what ours does not say.
FAMILIES: Mapping[str, tuple[str, dict[str, str]]] = {
    "llama": ("Llama", {}),
    "mistral": ("Mistral", {}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {}),
    "gemma2": ("Gemma2", {"lm_head": "tied: its weight is no tensor of the checkpoint"}),
    "mixtral": (
        "Mixtral",
        {
            "model.layers.*.mlp.experts.gate_up_proj": "gate and up are one tensor there",
            "model.layers.*.mlp.experts.down_proj": "split together with them",
            "model.layers.*.mlp.experts": "how it runs them",
        },
    ),
}


def ours(spec: str) -> dict[str, str]:
    program = compiler.compile(spec)
    maps = Library.standard().candidates(program.table.spec, program.table.parents)
    return translated(
        place(program.typed), plan_export(next(m for m in maps if m.dialect == "hf"), program.table)
    )


def theirs(name: str) -> dict[str, str]:
    """The plan of a model of the class, its layers few and without memory."""
    config = getattr(transformers, f"{name}Config")(num_hidden_layers=2)
    with torch.device("meta"):
        model = getattr(transformers, f"{name}ForCausalLM")(config)
    assert model.config.base_model_tp_plan
    found: dict[str, str] = dict(model.tp_plan)
    return found


@pytest.mark.parametrize("spec", FAMILIES)
def test_equal(spec: str) -> None:
    name, missing = FAMILIES[spec]
    want = theirs(name)
    assert missing.keys() <= want.keys()
    assert ours(spec) == {key: style for key, style in want.items() if key not in missing}


def test_what_lies_otherwise_has_no_style() -> None:
    """gpt2 joins q, k and v and transposes every map: no part of a group is told without the rest."""
    assert ours("gpt2") == {"transformer.wte": "embedding_rowwise"}
    assert not any("attention" in key for key in ours("gpt_neox"))


def test_exported(tmp_path: Path) -> None:
    """The plan stands beside the weights, and transformers takes it word for word."""
    sizes: Mapping[str, Any] = {"vocab": 61, "dim": 24, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 40}
    runtime.export(runtime.load("llama", weights=None, set=sizes), tmp_path)
    plan = json.loads((tmp_path / "parallel.json").read_text())["tp_plan"]
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert plan == model.tp_plan
    model.tp_plan = {}
    model.tp_plan = plan  # checked by transformers: every style is one of its own
    assert model.tp_plan == plan
