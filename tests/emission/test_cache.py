"""A cached run equals an uncached one, whatever the steps, with and without padding on the left."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.emission.models import CACHED, CASES, CONTEXT, Case, built

SPLITS = ((12,), (1,) * 12, (5, 7), (4, 1, 1, 6), (1, 11), (3, 4, 5), (9, 1, 1, 1))


@pytest.fixture(scope="module", params=CACHED, ids=lambda c: c.name)
def model(request: pytest.FixtureRequest) -> Any:
    return built(request.param, dtype=torch.float64)


def _mask(batch: int, length: int, padding: tuple[int, ...]) -> torch.Tensor:
    mask = torch.ones(batch, length, dtype=torch.bool)
    for row, count in enumerate(padding):
        mask[row, :count] = False
    return mask


@torch.no_grad()
@pytest.mark.parametrize("padding", [None, (0, 0, 0), (2, 0, 5)], ids=["no mask", "full mask", "left"])
@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_any_split_equals_one_call(
    model: Any, split: tuple[int, ...], padding: tuple[int, ...] | None
) -> None:
    tokens = torch.randint(0, 61, (3, 12), generator=torch.Generator().manual_seed(1))
    mask = None if padding is None else _mask(3, 12, padding)
    whole = model(tokens, mask)
    cache = model.new_cache(3, CONTEXT)
    parts = []
    for length in split:
        past = cache["past"]
        part = None if mask is None else mask[:, : past + length]
        parts.append(model(tokens[:, past : past + length], part, cache=cache))
        assert cache["past"] == past + length
    real = torch.ones(3, 12, dtype=torch.bool) if mask is None else mask
    difference = (torch.cat(parts, 1) - whole).abs()[real]
    assert difference.numel() == real.sum() * 61 and difference.max() <= 1e-12


@torch.no_grad()
def test_the_cache_is_read(model: Any) -> None:
    """The control: with another past the same step gives something else."""
    tokens = torch.randint(0, 61, (2, 6), generator=torch.Generator().manual_seed(2))
    caches = [model.new_cache(2, 8), model.new_cache(2, 8)]
    model(tokens[:, :5], cache=caches[0])
    model(tokens[:, :5].flip(0), cache=caches[1])
    one, other = (model(tokens[:, 5:], cache=c) for c in caches)
    assert (one - other).abs().max() > 1e-3


@torch.no_grad()
def test_padding_on_the_left_moves_nothing(model: Any) -> None:
    tokens = torch.randint(0, 61, (1, 7), generator=torch.Generator().manual_seed(3))
    padded = torch.cat((torch.zeros(1, 3, dtype=torch.long), tokens), 1)
    difference = model(padded, _mask(1, 10, (3,)))[:, 3:] - model(tokens)
    assert difference.abs().max() <= 1e-12


@torch.no_grad()
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_last_is_the_last_position(model: Any, cached: bool, masked: bool) -> None:
    tokens = torch.randint(0, 61, (3, 9), generator=torch.Generator().manual_seed(4))
    mask = _mask(3, 9, (1, 0, 4)) if masked else None
    cache = model.new_cache(3, 9) if cached else None
    last = model(tokens, mask, cache=cache, last=True)
    assert last.shape == (3, 1, 61)
    assert (last - model(tokens, mask)[:, -1:]).abs().max() <= 1e-12


@torch.no_grad()
def test_a_full_cache_says_so(model: Any) -> None:
    cache = model.new_cache(2, 5)
    tokens = torch.zeros(2, 4, dtype=torch.long)
    model(tokens, cache=cache)
    with pytest.raises(ValueError, match="the cache holds 5 tokens, 8 are needed"):
        model(tokens, cache=cache)
    assert cache["past"] == 4
    model(tokens[:, :1], cache=cache)
    assert cache["past"] == 5


@torch.no_grad()
def test_a_sequence_too_long_says_so(model: Any) -> None:
    words = f"a sequence of {CONTEXT + 1} is too long, this model takes {CONTEXT} at most"
    with pytest.raises(ValueError, match=words):
        model(torch.zeros(1, CONTEXT + 1, dtype=torch.long))
    cache = model.new_cache(1, 2 * CONTEXT)
    model(torch.zeros(1, CONTEXT, dtype=torch.long), cache=cache)
    with pytest.raises(ValueError, match=words):
        model(torch.zeros(1, 1, dtype=torch.long), cache=cache)
    assert cache["past"] == CONTEXT


def _tensors(cache: Any) -> list[torch.Tensor]:
    leaves, _ = torch.utils._pytree.tree_flatten(cache)
    return [x for x in leaves if isinstance(x, torch.Tensor)]


@pytest.mark.parametrize("case", CACHED, ids=lambda c: c.name)
def test_a_cache_follows_the_parameters(case: Case) -> None:
    model: Any = built(case, dtype=torch.bfloat16)
    kept = _tensors(model.new_cache(3, 7))
    heads = case.set.get("kv_heads", case.set["heads"])
    assert len(kept) == 2 * case.set["depth"]
    assert {(t.dtype, t.shape) for t in kept} == {(torch.bfloat16, torch.Size((3, heads, 7, 8)))}


@torch.no_grad()
@pytest.mark.parametrize("spec", ["bart", "marian", "whisper", "transformer", "translation"])
def test_a_target_too_long_says_so(spec: str) -> None:
    """The length is known once labels or target are: before anything is looked up with it."""
    case = next(c for c in CASES if c.name == spec)
    model: Any = built(case)
    inputs = case.inputs(2, 25, masked=False)
    inputs["source"] = case.inputs(2, 9, masked=False)["source"]
    words = "a sequence of 25 is too long, this model takes 24 at most"
    with pytest.raises(ValueError, match=words):
        model(**inputs)
    del inputs["target"]
    with pytest.raises(ValueError, match=words):
        model(**inputs)
