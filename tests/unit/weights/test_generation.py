"""Settings of text generation: generation_config.json of the real library <-> `io` of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

import runtime
from compiler.backend.build import program_of
from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.config import recognise
from compiler.weights.library import Library

hf.logging.set_verbosity_error()
hf.utils.logging.disable_progress_bar()
LIBRARY = Library.standard()

#: Our key -> theirs.
THEIRS = {
    "eos": "eos_token_id",
    "pad": "pad_token_id",
    "forced_start": "forced_bos_token_id",
    "forced_eos": "forced_eos_token_id",
    "suppress": "suppress_tokens",
    "begin_suppress": "begin_suppress_tokens",
    "bad_words": "bad_words_ids",
    "no_repeat_ngram": "no_repeat_ngram_size",
    "min_length": "min_length",
    "renormalize": "renormalize_logits",
}
LLAMA = dict(
    vocab_size=61,
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    num_key_value_heads=3,
    head_dim=8,
)
BART = dict(
    vocab_size=61,
    d_model=24,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=3,
    decoder_attention_heads=3,
    encoder_ffn_dim=40,
    decoder_ffn_dim=40,
)
MODELS: dict[str, tuple[Any, Any]] = {
    "gpt2": (
        hf.GPT2LMHeadModel,
        hf.GPT2Config(vocab_size=61, n_positions=16, n_embd=24, n_layer=2, n_head=3),
    ),
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig(**LLAMA, eos_token_id=[3, 4])),
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig(**LLAMA)),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config(**LLAMA)),
    "qwen3": (hf.Qwen3ForCausalLM, hf.Qwen3Config(**LLAMA, bos_token_id=5)),
    "gemma2": (hf.Gemma2ForCausalLM, hf.Gemma2Config(**LLAMA)),
    "gpt_neox": (
        hf.GPTNeoXForCausalLM,
        hf.GPTNeoXConfig(
            vocab_size=61, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40
        ),
    ),
    "t5": (
        hf.T5ForConditionalGeneration,
        hf.T5Config(
            vocab_size=61, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3, decoder_start_token_id=7
        ),
    ),
    "bart": (
        hf.BartForConditionalGeneration,
        hf.BartConfig(**BART, max_position_embeddings=32, decoder_start_token_id=9),
    ),
    "marian": (
        hf.MarianMTModel,
        hf.MarianConfig(**BART, pad_token_id=60, decoder_start_token_id=59, activation_function="silu"),
    ),
    "whisper": (
        hf.WhisperForConditionalGeneration,
        hf.WhisperConfig(
            **BART,
            pad_token_id=60,
            bos_token_id=59,
            eos_token_id=59,
            decoder_start_token_id=58,
            max_source_positions=16,
            begin_suppress_tokens=[1, 2],
        ),
    ),
}
FULL = {
    "eos_token_id": [7, 8],
    "pad_token_id": 9,
    "bos_token_id": 10,
    "decoder_start_token_id": 11,
    "forced_bos_token_id": 12,
    "forced_eos_token_id": [7],
    "suppress_tokens": [13, 14],
    "begin_suppress_tokens": [15],
    "bad_words_ids": [[16], [17, 18]],
    "no_repeat_ngram_size": 3,
    "min_length": 4,
    "renormalize_logits": True,
    "num_beams": 6,
    "max_length": 512,
}


def told(settings: hf.GenerationConfig, seq2seq: bool) -> dict[str, Any]:
    """What a generation_config of theirs says, in our words."""
    found = {ours: getattr(settings, theirs) for ours, theirs in THEIRS.items()}
    return {**found, "start": settings.decoder_start_token_id if seq2seq else settings.bos_token_id}


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_generates_as_its_library_would(name: str, tmp_path: Path) -> None:
    kind, config = MODELS[name]
    model = kind(config)
    seq2seq = model.config.is_encoder_decoder
    model.save_pretrained(tmp_path)
    assert recognise(tmp_path, LIBRARY).io == told(model.generation_config, seq2seq)
    (tmp_path / "generation_config.json").unlink()
    again = kind.from_pretrained(tmp_path)
    assert recognise(tmp_path, LIBRARY).io == told(again.generation_config, seq2seq)


@pytest.mark.parametrize("name", ["llama", "bart"])
def test_every_setting_comes_back_from_an_export(name: str, tmp_path: Path) -> None:
    kind, config = MODELS[name]
    kind(config).save_pretrained(tmp_path / "in")
    (tmp_path / "in" / "generation_config.json").write_text(json.dumps(FULL))
    model = runtime.load(tmp_path / "in")
    wanted = recognise(tmp_path / "in", LIBRARY).io
    assert wanted == told(hf.GenerationConfig(**FULL), name == "bart")
    runtime.export(model, tmp_path / "out")
    theirs = kind.from_pretrained(tmp_path / "out")
    assert told(theirs.generation_config, name == "bart") == wanted
    assert (theirs.config.eos_token_id, theirs.config.bos_token_id) == (
        [7, 8],
        10 if name == "llama" else config.bos_token_id,
    )
    assert program_of(runtime.load(tmp_path / "out")).typed.graph.io == program_of(model).typed.graph.io


def test_nothing_stays_nothing(tmp_path: Path) -> None:
    """A model without an end is not given its class's by an export."""
    kind, config = MODELS["llama"]
    kind(config).save_pretrained(tmp_path / "in")
    model = runtime.load(tmp_path / "in", set={"io.eos": None, "io.start": None})
    runtime.export(model, tmp_path / "out")
    again = kind.from_pretrained(tmp_path / "out")
    assert (again.config.eos_token_id, again.generation_config.eos_token_id) == (None, None)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("guidance_scale", 1.5, "`guidance_scale` is 1.5; the spec gpt2 has null built in"),
        ("min_new_tokens", 3, "`min_new_tokens` is 3; the spec gpt2 has null built in"),
        ("supress_tokens", [3], "`supress_tokens` is [3]: the map gpt2.hf does not know this key"),
    ],
)
def test_what_would_not_be_followed_is_refused(key: str, value: Any, said: str, tmp_path: Path) -> None:
    kind, config = MODELS["gpt2"]
    kind(config).save_pretrained(tmp_path)
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}, indent=2))
    with pytest.raises(CompileError) as caught:
        recognise(tmp_path, LIBRARY)
    assert said in str(caught.value) and "generation_config.json:" in str(caught.value)


def test_a_module_tells_its_settings_apart(tmp_path: Path) -> None:
    """Two folders that differ in nothing else have equal texts, and yet each its own end."""
    kind, config = MODELS["gpt2"]
    torch.manual_seed(0)
    model = kind(config)
    found = []
    for eos in (3, 4):
        model.generation_config.eos_token_id = eos
        model.save_pretrained(tmp_path / str(eos))
        found.append(runtime.load(tmp_path / str(eos)))
    assert [program_of(m).typed.graph.io["eos"] for m in found] == [3, 4]
