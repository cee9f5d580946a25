"""LLaMA in llama.cpp's format, written with the gguf library, against transformers and its reader of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, get_tensor_name_map
from gguf.quants import quantize
from transformers import LlamaConfig, LlamaForCausalLM

import runtime
from tests.parity import decoders, hf
from tests.parity.harness import answers, check_control, comparison, randomised

#: Rows of a whole number of blocks.
CONFIG = {
    "vocab_size": 97, "hidden_size": 64, "num_hidden_layers": 11, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 96, "max_position_embeddings": 48,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "rms_norm_eps": 2.0**-10,
}  # fmt: skip


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp rotates neighbours, so its converter puts the two halves of each head in turns."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def write(model: Any, path: Path, encoding: GGMLQuantizationType) -> None:
    """Matrices in that encoding; norms, and what else has no rows, in single precision."""
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, parameter in model.named_parameters():
        part = name.split(".")[-2]
        tensor = interleaved(parameter.detach(), heads[part]) if part in heads else parameter.detach()
        kind = encoding if tensor.ndim > 1 else GGMLQuantizationType.F32
        key = names.get_name(name, try_suffixes=(".weight",))
        assert key is not None, name
        writer.add_tensor(key, quantize(tensor.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check(path: Path, reference: Any, config: Mapping[str, Any]) -> None:
    asked = decoders.questions(config["vocab_size"], 40)
    for dtype in (torch.float64, torch.float32):
        model = runtime.load(path, dtype=dtype)
        with hf.without_casts() if dtype is torch.float64 else nullcontext():
            theirs = answers(lambda m: decoders.ask_theirs(m, asked), reference.to(dtype))
        compare = comparison(theirs, dtype)
        compare(answers(lambda m: decoders.ask_ours(m, asked), model))
        check_control(lambda m: decoders.ask_ours(m, asked), model, compare, dtype)


@pytest.mark.parametrize("change", [{}, {"tie_word_embeddings": True}, {"num_key_value_heads": 4}], ids=str)
def test_the_model_that_was_written(change: dict[str, Any], tmp_path: Path) -> None:
    config = CONFIG | change
    source = randomised(hf.maker(LlamaForCausalLM, LlamaConfig(**config))().eval())
    write(source, tmp_path / "model.gguf", GGMLQuantizationType.F32)
    check(tmp_path, source, config)


@pytest.mark.parametrize("encoding", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_the_model_that_transformers_reads(encoding: str, tmp_path: Path) -> None:
    source = randomised(hf.maker(LlamaForCausalLM, LlamaConfig(**CONFIG | {"num_hidden_layers": 2}))().eval())
    write(source, tmp_path / "model.gguf", GGMLQuantizationType[encoding])
    reference = LlamaForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf").eval()
    check(tmp_path / "model.gguf", reference, CONFIG)
