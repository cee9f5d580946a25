"""Encoder-decoders against transformers and torch's own layers, every element, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    WhisperConfig,
    WhisperForConditionalGeneration,
)
from transformers.models.t5 import modeling_t5

import compiler
import runtime

SIZES = dict(
    vocab_size=97,
    d_model=36,
    encoder_layers=3,
    decoder_layers=2,
    encoder_attention_heads=3,
    decoder_attention_heads=4,
    encoder_ffn_dim=50,
    decoder_ffn_dim=44,
)
T5_SIZES = dict(
    vocab_size=97,
    d_model=40,
    d_kv=12,
    d_ff=56,
    num_layers=3,
    num_decoder_layers=2,
    num_heads=3,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=20,
    decoder_start_token_id=3,
)

CASES: dict[str, Callable[[], PreTrainedModel]] = {
    "t5-gated": lambda: T5ForConditionalGeneration(T5Config(**T5_SIZES, feed_forward_proj="gated-gelu")),
    "t5-relu": lambda: T5ForConditionalGeneration(T5Config(**T5_SIZES, feed_forward_proj="relu")),
    "bart": lambda: BartForConditionalGeneration(
        BartConfig(**SIZES, max_position_embeddings=40, scale_embedding=True)
    ),
    "marian": lambda: MarianMTModel(
        MarianConfig(
            **SIZES,
            max_position_embeddings=40,
            decoder_vocab_size=97,
            scale_embedding=True,
            pad_token_id=96,
            decoder_start_token_id=95,
            activation_function="swish",
        )
    ),
    "whisper": lambda: WhisperForConditionalGeneration(
        WhisperConfig(
            **SIZES,
            num_mel_bins=7,
            max_source_positions=20,
            max_target_positions=24,
            pad_token_id=96,
            decoder_start_token_id=95,
            bos_token_id=1,
            eos_token_id=0,
        )
    ),
}


def _float64_norm(self: Any, x: Tensor) -> Tensor:
    """T5LayerNorm without its cast to float32, which would hide differences below 1e-7."""
    scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
    return self.weight * (x * scale)


@pytest.fixture(autouse=True)
def _lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modeling_t5.T5LayerNorm, "forward", _float64_norm)
    torch.manual_seed(0)


def _saved(name: str, folder: Path) -> PreTrainedModel:
    """A reference with values in every tensor, as its own project saves and reads it."""
    model = CASES[name]()
    for key, tensor in model.state_dict().items():
        center = 1.0 if "norm" in key and key.endswith("weight") else 0.0
        tensor.copy_(torch.randn_like(tensor) * 0.15 + center)
    model.tie_weights()
    model.save_pretrained(folder)
    return type(model).from_pretrained(folder).double().eval()


def _source(name: str) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """What an encoder reads, as the reference takes it and as ours does."""
    if name == "whisper":
        features = torch.randn(3, 7, 40, dtype=torch.float64)
        return {"input_features": features}, (features,)
    tokens = torch.randint(5, 90, (3, 30))
    mask = torch.ones(3, 30, dtype=torch.bool)
    mask[1, 22:] = False
    return {"input_ids": tokens, "attention_mask": mask.long()}, (tokens, mask)


@pytest.mark.parametrize("name", CASES)
def test_equal(name: str, tmp_path: Path) -> None:
    reference = _saved(name, tmp_path)
    model = runtime.load(tmp_path, dtype=torch.float64)
    theirs, ours = _source(name)
    labels = torch.randint(5, 90, (3, 9))
    labels[2, 6:] = -100
    with torch.no_grad():
        expected, found = reference(**theirs, labels=labels), model(*ours, labels=labels)
        torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-10)
        torch.testing.assert_close(found.loss, expected.loss, rtol=0, atol=1e-10)
        for (
            key,
            parameter,
        ) in model.named_parameters():  # the control: each tensor's first element must be seen
            if key.endswith(".k.bias") or _is_table(parameter, model):
                continue  # softmax takes a bias of the keys away; a table's first row may not be looked up
            before = parameter.view(-1)[0].clone()
            parameter.view(-1)[0] += 1e-2
            moved = model(*ours, labels=labels).logits
            parameter.view(-1)[0] = before
            assert (moved - expected.logits).abs().max() > 1e-10, key


def _is_table(parameter: Tensor, model: nn.Module) -> bool:
    return any(parameter is m.weight for m in model.modules() if isinstance(m, nn.Embedding))


@pytest.mark.parametrize("name", CASES)
def test_decode_in_steps(name: str, tmp_path: Path) -> None:
    _saved(name, tmp_path)
    model: Any = runtime.load(tmp_path, dtype=torch.float64)
    _, ours = _source(name)
    target = torch.randint(5, 90, (3, 8))
    with torch.no_grad():
        whole = model(*ours, target=target)
        memory, cache = model.encode(*ours), model.new_cache(3, 16)
        steps = [model.decode(memory, *ours[1:], target=target[:, :3], cache=cache)]
        for t in range(3, 8):
            steps.append(model.decode(memory, *ours[1:], target=target[:, t : t + 1], cache=cache, last=True))
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=0, atol=1e-12)
    assert cache["past"] == 8


@pytest.mark.parametrize("name", CASES)
def test_round_trip(name: str, tmp_path: Path) -> None:
    _saved(name, tmp_path / "in")
    model = runtime.load(tmp_path / "in")
    runtime.export(model, tmp_path / "out")
    again = runtime.load(tmp_path / "out")
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key
    reference, info = type(CASES[name]()).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values()), info
    theirs, ours = _source(name)
    target = torch.randint(5, 90, (3, 8))
    with torch.no_grad():
        model, reference = model.double(), reference.double().eval()
        found, expected = model(*ours, target=target), reference(**theirs, decoder_input_ids=target).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("spec", ["transformer", "translation"])
def test_equals_torch(spec: str) -> None:
    """torch's own TransformerEncoder and TransformerDecoder."""
    first = spec == "translation"
    sizes: dict[str, Any] = dict(source_vocab=31, vocab=31, context=20, dim=24, depth=3, heads=4, hidden=40)
    model: Any = compiler.build(spec, set=sizes, dtype=torch.float64).eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.1)
    make: dict[str, Any] = dict(
        d_model=24, nhead=4, dim_feedforward=40, batch_first=True, dtype=torch.float64
    )
    make |= dict(norm_first=True, bias=False) if first else {}
    norm = model.e_norm if first else None
    layers = nn.TransformerEncoderLayer(**make), nn.TransformerDecoderLayer(**make)
    encoder = nn.TransformerEncoder(layers[0], 3, norm, enable_nested_tensor=False).eval()
    decoder = nn.TransformerDecoder(layers[1], 3, norm).eval()
    norms = {"ln_1": "norm1", "ln_2": "norm2", "ln_3": "norm3"}
    encoder.layers.load_state_dict(_torch_names(model.encoder, norms))
    decoder.layers.load_state_dict(_torch_names(model.decoder, norms))
    source, target = torch.randint(0, 31, (2, 11)), torch.randint(0, 31, (2, 7))
    mask = torch.ones(2, 11, dtype=torch.bool)
    mask[1, 8:] = False
    token, place = (model.e_token, model.e_place) if first else (model.token, model.d_place)
    scale = math.sqrt(24) if first else 1.0
    with torch.no_grad():
        x = model.e_token(source) + model.e_place.weight[:11]
        memory = encoder(x * scale, src_key_padding_mask=~mask)
        causal = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
        x = token(target) + place.weight[:7]
        hidden = decoder(x * scale, memory, tgt_mask=causal, memory_key_padding_mask=~mask)
        found = model(source, mask, target=target)
        torch.testing.assert_close(found, hidden @ token.weight.T, rtol=0, atol=1e-10)


def _torch_names(layers: nn.ModuleList, norms: dict[str, str]) -> dict[str, Tensor]:
    """Our layers' weights under the names of torch's layers, q, k and v in one."""
    out: dict[str, Tensor] = {}
    for i, layer in enumerate(layers):
        state = layer.state_dict()
        for ours, theirs in (("attn", "self_attn"), ("cross", "multihead_attn")):
            for p in (p for p in ("weight", "bias") if f"{ours}.q.{p}" in state):
                out[f"{i}.{theirs}.in_proj_{p}"] = torch.cat([state[f"{ours}.{n}.{p}"] for n in "qkv"])
                out[f"{i}.{theirs}.out_proj.{p}"] = state[f"{ours}.o.{p}"]
        for p in ("weight", "bias"):
            names = {"mlp.up": "linear1", "mlp.down": "linear2", **norms}
            out |= {f"{i}.{names[n]}.{p}": state[f"{n}.{p}"] for n in names if f"{n}.{p}" in state}
    return out


@pytest.mark.parametrize(
    ("spec", "count"),
    [("transformer", 67_309_568), ("translation", 7_531_648), ("whisper:tiny.en", 37_760_256)],
)
def test_published_size(spec: str, count: int) -> None:
    table = compiler.compile(spec).table
    assert sum(p.numel for p in table.parameters) == count
