"""Filters of scores: equal to transformers' processors in every element, and to exact probabilities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.generation import logits_process as theirs

from runtime.generation import filters
from runtime.generation.options import Filters
from runtime.generation.sampling import draw, narrow

ROWS, VOCAB = 5, 47


@pytest.fixture
def logits() -> Tensor:
    """Scores with ties, extremes and things already removed."""
    found = 3 * torch.randn(ROWS, VOCAB, generator=torch.Generator().manual_seed(3))
    found[0, :20] = 1.5
    found[1, 7:] = float("-inf")
    found[2, 5] = 60.0
    return found


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 6, (ROWS, 11), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("k", [1, 2, 7, 20, 46, 47, 1000])
def test_top_k(logits: Tensor, k: int) -> None:
    assert torch.equal(filters.keep_top_k(logits, k), theirs.TopKLogitsWarper(k)(logits, logits))


@pytest.mark.parametrize("p", [0.0, 1e-6, 0.1, 0.5, 0.9, 0.999, 1.0])
def test_top_p(logits: Tensor, p: float) -> None:
    assert torch.equal(filters.keep_top_p(logits, p), theirs.TopPLogitsWarper(p)(logits, logits))


@pytest.mark.parametrize("p", [0.0, 1e-3, 0.1, 0.5, 0.99, 1.0])
def test_min_p(logits: Tensor, p: float) -> None:
    assert torch.equal(filters.keep_min_p(logits, p), theirs.MinPLogitsWarper(p)(logits, logits))


@pytest.mark.parametrize("penalty", [0.3, 1.0, 1.7])
def test_repetition(logits: Tensor, ids: Tensor, penalty: float) -> None:
    wanted = theirs.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
    assert torch.equal(filters.penalise(logits, ids, penalty), wanted)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 11, 12])
def test_repeats(logits: Tensor, ids: Tensor, size: int) -> None:
    wanted = theirs.NoRepeatNGramLogitsProcessor(size)(ids, logits)
    assert torch.equal(filters.forbid_repeats(logits, ids, size), wanted)


def test_words(logits: Tensor, ids: Tensor) -> None:
    ids[0, -2:] = torch.tensor([4, 5])
    ids[3, -1] = 5
    for word in ([9], [5, 8], [4, 5, 6], [1] * 13):
        wanted = theirs.NoBadWordsLogitsProcessor([word])(ids, logits)
        assert torch.equal(filters.forbid_word(logits, ids, torch.tensor(word)), wanted)


FILTERS = [
    Filters(temperature=0.7),
    Filters(temperature=1.6, top_k=5),
    Filters(temperature=1.0, top_p=0.8),
    Filters(temperature=1.0, min_p=0.05),
    Filters(temperature=1.3, top_k=9, top_p=0.9, min_p=0.02),
]


def chain(logits: Tensor, asked: Filters) -> Tensor:
    """Their warpers in their order."""
    warpers: list[Any] = [theirs.TemperatureLogitsWarper(asked.temperature)]
    warpers += [theirs.TopKLogitsWarper(asked.top_k)] if asked.top_k else []
    warpers += [theirs.TopPLogitsWarper(asked.top_p)] if asked.top_p else []
    warpers += [theirs.MinPLogitsWarper(asked.min_p)] if asked.min_p else []
    for warper in warpers:
        logits = warper(logits, logits)
    return logits


@pytest.mark.parametrize("asked", FILTERS, ids=str)
def test_their_order(logits: Tensor, asked: Filters) -> None:
    assert torch.equal(narrow(logits, asked), chain(logits, asked))


@pytest.mark.parametrize("asked", FILTERS, ids=str)
def test_draws_follow_the_probabilities(logits: Tensor, asked: Filters) -> None:
    """Pearson's chi-square of 60,000 draws per row, its bound met by all but one in a million seeds."""
    draws = 60_000
    exact = chain(logits, asked).double().softmax(-1)
    generator = torch.Generator().manual_seed(11)
    for row, wanted in enumerate(exact):
        scores = narrow(logits, asked)[row].expand(draws, VOCAB)
        counts = torch.bincount(draw(scores, generator), minlength=VOCAB).double()
        assert counts[wanted == 0].sum() == 0
        often = wanted * draws >= 5
        rare = (wanted > 0) & ~often
        cells = torch.cat((counts[often], counts[rare].sum()[None]))
        means = torch.cat((wanted[often], wanted[rare].sum()[None])) * draws
        cells, means = cells[means >= 5], means[means >= 5]
        freedom = len(cells) - 1
        if freedom:
            assert ((cells - means) ** 2 / means).sum() < freedom + 7 * (2 * freedom) ** 0.5 + 14


def test_draws_differ_between_rows() -> None:
    """Rows of equal scores are drawn independently: pairs are as frequent as products."""
    scores = torch.tensor([0.7, 0.3]).log().expand(100_000, 2, 2)
    generator = torch.Generator().manual_seed(2)
    first, second = draw(scores.reshape(-1, 2), generator).view(-1, 2).unbind(1)
    both = (first * second).double().mean()
    assert abs(float(both) - 0.09) < 5 * (0.09 * 0.91 / 100_000) ** 0.5
