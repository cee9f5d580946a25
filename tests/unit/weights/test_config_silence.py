"""What a config leaves unsaid, and what it says twice, means what it means to transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers as hf

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.config import recognise

SCALED = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 3.0}


def folder(path: Path, config: Any, **more: Any) -> Path:
    data = {**config.to_dict(), **more}
    (path / "config.json").write_text(json.dumps(data))
    return path


def test_a_silent_whisper_has_the_sizes_of_tiny(tmp_path: Path) -> None:
    """It reads BART's keys, whose defaults are others."""
    said = {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}
    written = {"is_encoder_decoder": True, "scale_embedding": False}
    (tmp_path / "config.json").write_text(json.dumps(said | written))
    config = hf.WhisperConfig()
    found = recognise(tmp_path).set
    assert [found[name] for name in ("dim", "depth", "heads", "hidden")] == [
        config.d_model, config.encoder_layers, config.encoder_attention_heads, config.encoder_ffn_dim
    ]  # fmt: skip
    assert [found[f"decoder_{name}"] for name in ("depth", "heads", "hidden")] == [
        config.decoder_layers, config.decoder_attention_heads, config.decoder_ffn_dim
    ]  # fmt: skip


@pytest.mark.parametrize(
    "scaling", [{"type": "linear", "factor": 4.0}, {**SCALED, "original_max_position_embeddings": None}]
)
def test_a_stretched_rotation_beside_silence(scaling: Any, tmp_path: Path) -> None:
    """As the first long models wrote it: neither the base nor the context."""
    said = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "rope_scaling": scaling}
    (tmp_path / "config.json").write_text(json.dumps(said))
    found = recognise(tmp_path).set
    assert (found["base"], found["rope"]["with"]["base"], found["context"]) == (10000.0, 10000.0, 2048)
    assert found["rope"]["with"]["factor"] == 4.0
    assert found["rope"]["with"].get("original", 2048) == 2048


T5 = {"architectures": ["T5ForConditionalGeneration"]}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"dense_act_fn": "silu"}, "`dense_act_fn` is silu, which the spec t5 cannot express"),
        ({"is_gated_act": True}, "`is_gated_act` is true; the spec t5 has false built in"),
    ],
)
def test_what_follows_from_another_key_must_agree(said: Any, message: str, tmp_path: Path) -> None:
    """transformers takes what the config says, and not what follows."""
    assert recognise(folder(tmp_path, hf.T5Config(), **T5)).set["act"] == "relu"
    with pytest.raises(CompileError) as caught:
        recognise(folder(tmp_path, hf.T5Config(), **T5, **said))
    assert message in str(caught.value)


def test_a_fault_brings_no_others_with_it(tmp_path: Path) -> None:
    """The params that the choice would have given are missed by other keys."""
    with pytest.raises(CompileError) as caught:
        recognise(folder(tmp_path, hf.T5Config(), **T5, feed_forward_proj="maxout", dense_act_fn="maxout"))
    (fault,) = caught.value.diagnostics
    assert fault.message == "`feed_forward_proj` is maxout, which the spec t5 cannot express"
