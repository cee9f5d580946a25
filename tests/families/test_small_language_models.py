"""The language models that a CPU can train: GPT-2's shape on Shakespeare, and a BERT without its extras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import compiler
import runtime
from tests.parity.harness import randomised

CHARACTERS = {"vocab_size": 65, "n_positions": 256, "n_embd": 256, "n_layer": 3, "n_head": 8}
PIECES = {"vocab_size": 12516, "n_positions": 256, "n_embd": 384, "n_layer": 3, "n_head": 6}
SMALL = {"vocab": 61, "context": 20, "dim": 24, "depth": 3, "heads": 4, "hidden": 40}


@pytest.mark.parametrize(("spec", "sizes"), [("char_gpt", CHARACTERS), ("char_gpt:bpe", PIECES)])
def test_gpt_equals_transformers(spec: str, sizes: dict[str, int], tmp_path: Path) -> None:
    """At full size, read and written through GPT-2's own map."""
    reference: Any = randomised(GPT2LMHeadModel(GPT2Config(**sizes)).eval().double())
    reference.save_pretrained(tmp_path / "in")
    model = runtime.load(spec, weights=tmp_path / "in")
    tokens = torch.randint(0, sizes["vocab_size"], (2, 30))
    with torch.no_grad():
        theirs = reference(input_ids=tokens).logits
        torch.testing.assert_close(model(tokens), theirs, rtol=0, atol=1e-10)
        runtime.export(model, tmp_path / "out", to="hf")
        again, found = GPT2LMHeadModel.from_pretrained(
            tmp_path / "out", dtype="auto", output_loading_info=True
        )
        assert not any(found.values()), found
        assert torch.equal(again.eval()(input_ids=tokens).logits, theirs)
        model.get_parameter("h.2.mlp.down.weight")[0, 0] += 1e-3
        assert (model(tokens) - theirs).abs().max() > 1e-10


def torch_layers(model: Any) -> nn.TransformerEncoder:
    """torch's own encoder with the weights of ours: queries, keys and values joined, their bias zero."""
    layer = nn.TransformerEncoderLayer(24, 4, 40, 0.0, "gelu", batch_first=True, norm_first=True)
    layer.norm1, layer.norm2 = (nn.RMSNorm(24, eps=1e-8) for _ in range(2))  # type: ignore[assignment]
    encoder = nn.TransformerEncoder(layer, 3, nn.RMSNorm(24, eps=1e-8), enable_nested_tensor=False)
    state = {"norm.weight": model.last.weight}
    for i, ours in enumerate(model.h):
        attn = ours.attn
        state |= {
            f"layers.{i}.self_attn.in_proj_weight": torch.cat([attn.q.weight, attn.k.weight, attn.v.weight]),
            f"layers.{i}.self_attn.in_proj_bias": torch.zeros(72),
            f"layers.{i}.norm1.weight": ours.ln_1.weight,
            f"layers.{i}.norm2.weight": ours.ln_2.weight,
        }
        for theirs, linear in (
            ("self_attn.out_proj", attn.o),
            ("linear1", ours.mlp.up),
            ("linear2", ours.mlp.down),
        ):
            state |= {f"layers.{i}.{theirs}.{p}": getattr(linear, p) for p in ("weight", "bias")}
    encoder.double().load_state_dict(state)
    return encoder  # its dropout is 0; in eval mode it would ask the norms for a bias


def test_mlm_equals_torch() -> None:
    model: Any = randomised(compiler.build("mlm", set=SMALL, dtype=torch.float64).eval())
    tokens, labels = torch.randint(0, 61, (3, 20)), torch.full((3, 20), -100)
    labels[:, [2, 7, 9]] = tokens[:, [1, 2, 3]]
    mask = torch.arange(20) < torch.tensor([[20], [15], [11]])
    with torch.no_grad():
        x = model.token(tokens) + model.place.weight
        hidden = torch_layers(model)(x, src_key_padding_mask=~mask)
        theirs = hidden @ model.token.weight.T
        found = model(tokens, mask, labels)
        torch.testing.assert_close(found.logits[mask], theirs[mask], rtol=0, atol=1e-10)
        loss = nn.functional.cross_entropy(theirs[labels != -100], labels[labels != -100])
        torch.testing.assert_close(found.loss, loss, rtol=0, atol=1e-10)
        model.h[2].attn.k.weight[0, 0] += 1e-3
        assert (model(tokens, mask)[mask] - theirs[mask]).abs().max() > 1e-10


@pytest.mark.parametrize(
    ("spec", "count"),
    [("char_gpt", 2_451_968), ("char_gpt:bpe", 10_228_608), ("mlm", 21_524_992), ("mlm:wiki", 6_861_056)],
)
def test_size(spec: str, count: int) -> None:
    assert sum(p.numel for p in compiler.compile(spec).table.parameters) == count
