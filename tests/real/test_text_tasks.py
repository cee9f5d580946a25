"""Text tasks on published weights: completion, chat, likeness of sentences, hidden residues."""

from __future__ import annotations

import pytest
import torch
from transformers import BertForMaskedLM

from runtime.tasks.chat import answer, stream_answer
from runtime.tasks.embed import embed_texts, ranking, similarity
from runtime.tasks.fill_mask import fill_mask
from runtime.tasks.generate import Choice, generate_texts, stream_text
from runtime.tasks.opened import Opened, open_model
from tests.artifacts import need
from tests.real.test_antiberty import CHAIN
from tests.real.test_minilm import SENTENCES

PROMPTS = ["The capital of France is", "Water boils at a temperature of one hundred"]
QUESTION = [{"role": "user", "content": "What is 2 plus 2?"}]


@pytest.fixture(scope="module")
def smollm2() -> Opened:
    return open_model(need("smollm2"))


@pytest.fixture(scope="module")
def minilm() -> Opened:
    return open_model(need("minilm").parent)


@pytest.fixture(scope="module")
def antiberty() -> Opened:
    folder = need("antiberty").parent
    return open_model(folder, tokenizer=folder.parent / "vocab.txt")


def test_a_batch_is_continued_as_each_prompt_is(smollm2: Opened) -> None:
    choice = Choice(max_new_tokens=6)
    both = generate_texts(smollm2, PROMPTS, choice)
    assert both[0].text is not None and both[0].text.startswith(" Paris")
    assert both == [one for prompt in PROMPTS for one in generate_texts(smollm2, [prompt], choice)]
    assert "".join(stream_text(smollm2, PROMPTS[0], choice)) == both[0].text


def test_it_answers_a_question(smollm2: Opened) -> None:
    found = answer(smollm2, QUESTION, Choice(max_new_tokens=40))
    assert found.text is not None and "4" in found.text
    assert found.tokens[-1] == smollm2.tokenizer.id("<|im_end|>") and "<|im_end|>" not in found.text
    assert "".join(stream_answer(smollm2, QUESTION, Choice(max_new_tokens=40))) == found.text


def test_sentences_are_ranked_by_what_they_say(minilm: Opened) -> None:
    near = float(similarity(*(embed_texts(minilm, [text]).vectors for text in SENTENCES)))
    assert near == pytest.approx(0.7553, abs=5e-5)
    others = ["The girl is carrying a baby.", "A cheetah is running behind its prey.", *reversed(SENTENCES)]
    found = embed_texts(minilm, others, batch=3)
    alone = torch.cat([embed_texts(minilm, [text]).vectors for text in others])
    torch.testing.assert_close(found.vectors, alone)
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(len(others)))
    query = embed_texts(minilm, ["Somebody has lunch."]).vectors[0]
    assert {others[row] for row, _ in ranking(query, found.vectors)[:2]} == set(SENTENCES)


def test_a_text_that_is_too_long_is_told(minilm: Opened) -> None:
    found = embed_texts(minilm, ["word " * 300, "word"])
    assert found.cut == (0,)


def test_hidden_residues_are_guessed_as_transformers_does(antiberty: Opened) -> None:
    """Two sequences of unlike length in one batch, three places hidden, every probability."""
    hidden = [(0, 24), (0, 40), (1, 11)]
    rows = [["[CLS]", *CHAIN, "[SEP]"], ["[CLS]", *CHAIN[:35], "[SEP]"]]
    for row, place in hidden:
        rows[row][place] = "[MASK]"
    texts = [" ".join(row[1:-1]) for row in rows]
    size = len(antiberty.tokenizer)
    found = fill_mask(antiberty, texts, top=size)
    names = (need("antiberty").parents[1] / "vocab.txt").read_text().split("\n")
    tokens = torch.full((2, len(rows[0])), names.index("[PAD]"))
    for i, residues in enumerate(rows):
        tokens[i, : len(residues)] = torch.tensor([names.index(name) for name in residues])
    reference = BertForMaskedLM.from_pretrained(need("antiberty").parent).eval()
    with torch.no_grad():
        logits = reference(input_ids=tokens, attention_mask=(tokens != names.index("[PAD]")).long()).logits
    guesses = [guess for filled in found for guess in filled.masks]
    assert [len(filled.masks) for filled in found] == [2, 1]
    for (row, place), guess in zip(hidden, guesses, strict=True):
        ours = torch.zeros(size)
        ours[[g.id for g in guess]] = torch.tensor([g.probability for g in guess])
        torch.testing.assert_close(ours, logits[row, place].softmax(-1))
        assert guess[0].token == (CHAIN[place - 1])
    assert found[0].filled.replace(" ", "") == CHAIN
