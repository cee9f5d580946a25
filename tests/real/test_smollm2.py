"""SmolLM2-135M-Instruct, quantised, out of one GGUF file."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

import runtime
from tests.artifacts import need

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def model() -> Any:
    return runtime.load(need("smollm2"))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The one inside the file."""
    file = need("smollm2")
    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def test_it_knows_the_capital_of_france(model: Any, tokenizer: Any) -> None:
    tokens = torch.tensor([tokenizer.encode(PROMPT)])
    with torch.no_grad():
        best = int(model(tokens)[0, -1].argmax())
    assert tokenizer.decode([best]) == " Paris"


def test_equal_to_transformers(model: Any, tokenizer: Any) -> None:
    file = need("smollm2")
    reference = LlamaForCausalLM.from_pretrained(file.parent, gguf_file=file.name).eval()
    tokens = torch.tensor([tokenizer.encode(PROMPT + " Paris, and the capital of Italy is")])
    with torch.no_grad():
        theirs = reference(input_ids=tokens).logits
        assert float((model(tokens) - theirs).abs().max()) <= 1e-4
        weight = model.get_parameter("h.29.attn.o.weight")
        before = weight[0, 0].clone()
        weight[0, 0] += 1e-1
        assert float((model(tokens) - theirs).abs().max()) > 1e-4
        weight[0, 0] = before
