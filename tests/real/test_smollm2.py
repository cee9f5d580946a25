"""SmolLM2-135M-Instruct, quantised, out of one GGUF file."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

import runtime
from compiler.backend.build import program_of
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


@pytest.fixture(scope="module")
def reference() -> Any:
    """transformers' reading of the same file."""
    file = need("smollm2")
    return LlamaForCausalLM.from_pretrained(file.parent, gguf_file=file.name).eval()


def test_it_knows_the_capital_of_france(model: Any, tokenizer: Any) -> None:
    tokens = torch.tensor([tokenizer.encode(PROMPT)])
    with torch.no_grad():
        best = int(model(tokens)[0, -1].argmax())
    assert tokenizer.decode([best]) == " Paris"


def test_equal_to_transformers(model: Any, tokenizer: Any, reference: Any) -> None:
    tokens = torch.tensor([tokenizer.encode(PROMPT + " Paris, and the capital of Italy is")])
    with torch.no_grad():
        theirs = reference(input_ids=tokens).logits
        assert float((model(tokens) - theirs).abs().max()) <= 1e-4
        weight = model.get_parameter("h.29.attn.o.weight")
        before = weight[0, 0].clone()
        weight[0, 0] += 1e-1
        assert float((model(tokens) - theirs).abs().max()) > 1e-4
        weight[0, 0] = before


CHATS = ("What is the capital of Italy?", "Name three primes.")


@pytest.fixture(scope="module")
def prompts(tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Two chats as the model was taught them, padded on the left, and which of their tokens are real."""
    rows = [
        tokenizer.encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n") for text in CHATS
    ]
    longest = max(map(len, rows))
    assert len(rows[0]) != len(rows[1])
    tokens = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[False] * (longest - len(row)) + [True] * len(row) for row in rows])
    return tokens, mask


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"repetition_penalty": 1.3}], ids=str)
def test_generates_as_transformers_does(
    model: Any,
    tokenizer: Any,
    reference: Any,
    prompts: tuple[torch.Tensor, torch.Tensor],
    options: dict[str, Any],
) -> None:
    """The file says which token ends an answer; both rows come to their end."""
    tokens, mask = prompts
    assert program_of(model).typed.graph.io["eos"] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    ours = runtime.generate(model, tokens, mask=mask, max_new_tokens=32, **options)
    theirs = reference.generate(
        tokens,
        attention_mask=mask.long(),
        max_new_tokens=32,
        do_sample=False,
        eos_token_id=2,
        pad_token_id=2,
        **options,
    )
    assert torch.equal(ours, theirs)
    answers = tokenizer.batch_decode(ours[:, tokens.shape[1] :], skip_special_tokens=True)
    assert "Rome" in answers[0]
