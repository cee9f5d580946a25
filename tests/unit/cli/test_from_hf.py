"""from-hf: what it prints is a spec that compiles to the checkpoint's very tensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import compiler
from compiler.cli.main import main

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "intermediate_size": 44,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}


def test_the_printed_spec_is_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my-llama.v2"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))
    assert main(["from-hf", str(folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("spec: my_llama\nextends: llama\n")
    spec = tmp_path / "mine.yaml"
    spec.write_text(text)
    ours, theirs = compiler.compile(spec).table, compiler.compile(folder).table
    assert [(p.name, p.shape) for p in ours.parameters] == [(p.name, p.shape) for p in theirs.parameters]
    assert ours.values == theirs.values
    assert compiler.emit(spec).count("/ 4.0") == compiler.emit(folder).count("/ 4.0") > 0


def test_a_value_that_no_spec_has_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA, "hidden_act": "mish"}))
    assert main(["from-hf", str(tmp_path)]) == 1
    assert "hidden_act" in capsys.readouterr().err
