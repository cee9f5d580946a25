"""MiniLM: two sentences and how near they are."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertModel

import runtime
from tests.artifacts import need

SENTENCES = ["A man is eating food.", "A man is eating a piece of bread."]


def tokenised() -> tuple[torch.Tensor, torch.Tensor]:
    """Both sentences in one batch, the shorter one padded: tokens, and which of them are real."""
    tokenizer = Tokenizer.from_file(str(need("minilm").with_name("tokenizer.json")))
    tokenizer.enable_padding()
    rows = tokenizer.encode_batch(SENTENCES)
    mask = torch.tensor([row.attention_mask for row in rows], dtype=torch.bool)
    assert mask.sum(1).tolist() == [8, 11]
    return torch.tensor([row.ids for row in rows]), mask


def pooled(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over real tokens."""
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def cosine(pair: torch.Tensor) -> float:
    return float(torch.cosine_similarity(pair[0], pair[1], dim=0))


def test_the_sentences_are_as_near_as_published() -> None:
    tokens, mask = tokenised()
    with torch.no_grad():
        hidden = runtime.load(need("minilm").parent)(tokens, mask=mask).hidden
    assert cosine(pooled(hidden, mask)) == pytest.approx(0.7553, abs=5e-5)
    with torch.no_grad():
        unmasked = runtime.load(need("minilm").parent)(tokens).hidden
    assert cosine(pooled(unmasked, mask)) != pytest.approx(0.7553, abs=5e-5)


def test_equal_to_transformers() -> None:
    tokens, mask = tokenised()
    folder = need("minilm").parent
    reference = BertModel.from_pretrained(folder).eval()
    model = runtime.load(folder)
    with torch.no_grad():
        theirs = reference(input_ids=tokens, attention_mask=mask.long())
        ours = model(tokens, mask=mask)
        torch.testing.assert_close(ours.hidden[mask], theirs.last_hidden_state[mask])
        torch.testing.assert_close(ours.pooled, theirs.pooler_output)
        model.get_parameter("h.5.attn.k.weight").view(-1)[0] += 1.0
        with pytest.raises(AssertionError):
            torch.testing.assert_close(model(tokens, mask=mask).hidden[mask], theirs.last_hidden_state[mask])
