"""Fused maps and layouts of weights on checkpoints of others: read, run and written as by a plain module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

import runtime
from compiler import CompileError
from runtime.layout import PackedParameter

SMALL = {"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
WIDE = {**SMALL, "intermediate_size": 40, "max_position_embeddings": 16}
PICTURES = {k: v for k, v in WIDE.items() if k not in ("vocab_size", "max_position_embeddings")}
PICTURES |= {"image_size": 12, "patch_size": 4}
FUSED: dict[str, Any] = {"optimize": ("fuse",)}
WAYS: tuple[dict[str, Any], ...] = (
    FUSED,
    {"layout": "decode"},
    {"layout": "batch"},
    {"layout": "rows"},
    {**FUSED, "layout": "decode"},
    {**FUSED, "layout": "batch"},
)


def _gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=61, n_positions=32, n_embd=24, n_layer=2, n_head=3))


def _llama(**more: Any) -> nn.Module:
    sizes = {**SMALL, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 40}
    return LlamaForCausalLM(LlamaConfig(**sizes, max_position_embeddings=32, **more))


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "gpt2": _gpt2,
    "llama": _llama,
    "llama_tied": lambda: _llama(tie_word_embeddings=True),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**WIDE)),
    "bert": lambda: BertModel(BertConfig(**WIDE)),
    "clip": lambda: CLIPModel(
        CLIPConfig(text_config={**WIDE, "eos_token_id": 2}, vision_config=PICTURES, projection_dim=20)
    ),
}


def _saved(make: Callable[[], nn.Module], folder: Path, dtype: torch.dtype) -> Path:
    torch.manual_seed(0)
    model: Any = make().to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def _answer(model: Any, dtype: torch.dtype) -> torch.Tensor:
    tokens = torch.arange(30).reshape(2, 15) % 61
    pixels = torch.linspace(-1, 1, 2 * 3 * 12 * 12, dtype=dtype).reshape(2, 3, 12, 12)
    inputs = {"tokens": tokens, "pixels": pixels}
    names = [name for name in inputs if name in model.forward.__code__.co_varnames]
    with torch.no_grad():
        found = model(**{name: inputs[name] for name in names})
    return found if isinstance(found, torch.Tensor) else found[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", MAKERS)
def test_any_dialect_is_read_and_written_bit_for_bit(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    folder = _saved(MAKERS[kind], tmp_path / "theirs", dtype)
    plain = runtime.load(folder)
    runtime.export(plain, tmp_path / "plain")
    written = (tmp_path / "plain" / "model.safetensors").read_bytes()
    expected = _answer(plain, dtype)
    for k, way in enumerate(WAYS):
        model = runtime.load(folder, **way)
        found = _answer(model, dtype)
        if dtype is torch.float64:
            assert (found - expected).abs().max() <= 1e-10
        else:
            torch.testing.assert_close(found, expected)
        runtime.export(model, tmp_path / str(k))
        assert (tmp_path / str(k) / "model.safetensors").read_bytes() == written, way


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("kind", ["gpt2", "llama_tied"])
def test_greedy_tokens_are_those_of_the_plain_module(kind: str, rows: int, tmp_path: Path) -> None:
    folder = _saved(MAKERS[kind], tmp_path, torch.float32)
    start = torch.arange(5 * rows).reshape(rows, 5) % 61
    expected = runtime.generate(runtime.load(folder), start, max_new_tokens=20, eos=None)
    for way in WAYS:
        found = runtime.generate(runtime.load(folder, **way), start, max_new_tokens=20, eos=None)
        assert torch.equal(found, expected), way


def test_a_transposed_checkpoint_is_the_layout_and_stays_a_view(tmp_path: Path) -> None:
    folder = _saved(_gpt2, tmp_path, torch.float32)
    rows = runtime.load(folder, layout="rows")
    assert all(p.is_contiguous() for p in rows.parameters())
    apart: Any = runtime.load(folder)
    weights = [getattr(apart.h[1].attn, name).weight for name in "qkv"]
    assert {(w.shape, w.stride()) for w in weights} == {((24, 24), (1, 72))}
    assert len({w.untyped_storage().data_ptr() for w in weights}) == 1  # the file's own memory
    fused: Any = runtime.load(folder, layout="decode", optimize=("fuse",))
    assert fused.h[1].attn.qkv.weight.shape == (72, 24) and fused.h[1].attn.qkv.weight.stride() == (1, 72)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_weight_that_changed_is_not_read_from_its_packed_copy(dtype: torch.dtype) -> None:
    model: Any = runtime.load("gpt2", weights=None, set={"depth": 1}, dtype=dtype, layout="batch")
    head = model.wte.weight
    if not isinstance(head, PackedParameter):
        pytest.skip("this processor has no such products")
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = model(tokens)
        head.mul_(2)
        assert torch.equal(model(tokens).argmax(-1), _plain(model, dtype)(tokens).argmax(-1))
        assert not torch.equal(model(tokens), before)


def _plain(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    plain = runtime.load("gpt2", weights=None, set={"depth": 1}, dtype=dtype)
    plain.load_state_dict(model.state_dict())
    return plain


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradients_reach_a_laid_out_weight(dtype: torch.dtype) -> None:
    model: Any = runtime.load("gpt2", weights=None, set={"depth": 1}, dtype=dtype, layout="batch")
    model(torch.tensor([[1, 2, 3]])).float().sum().backward()
    assert model.h[0].attn.q.weight.grad.abs().sum() > 0


def test_an_unknown_layout_is_an_error() -> None:
    with pytest.raises(CompileError, match="did you mean `decode`"):
        runtime.load("gpt2", weights=None, layout="decoding")


def test_adapters_and_fusing_compose(tmp_path: Path) -> None:
    base = _saved(_llama, tmp_path / "base", torch.float32)
    spec = tmp_path / "mine.yaml"
    spec.write_text(
        "spec: mine\nextends: llama\n"
        'adapters: {at: ["h.*.attn.q", "h.*.attn.v"], rank: 2, alpha: 4, train: [norm]}\n'
    )
    sizes = {"vocab": 61, "dim": 24, "depth": 2, "heads": 6, "kv_heads": 2, "hidden": 40, "eps": 1e-6}
    plain: Any = runtime.load(spec, weights=base, set=sizes)
    fused: Any = runtime.load(spec, weights=base, set=sizes, optimize=("fuse",))
    assert hasattr(fused.h[0].mlp, "gate_up") and hasattr(fused.h[0].attn, "k")
    with torch.no_grad():
        for parameter in plain.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    runtime.save_adapter(plain, tmp_path / "adapter")
    runtime.load_adapter(fused, tmp_path / "adapter")
    tokens = torch.tensor([[1, 2, 3, 4]])
    assert (fused(tokens) - plain(tokens)).abs().max() <= 1e-5
    assert (runtime.merge(fused)(tokens) - plain(tokens)).abs().max() <= 1e-5
