"""torch.compile takes forward, every method and a cached step whole, and compiles no step twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tests.emission.models import CACHED, CONTEXT, ONE_EACH, Case, built, name, tensors

CALLS = [(case, method) for case in ONE_EACH for method in ("forward", *case.methods)]


@pytest.fixture(autouse=True)
def fresh_dynamo() -> None:
    torch._dynamo.reset()


@torch.no_grad()
@pytest.mark.parametrize("case, method", CALLS, ids=name)
def test_forward_with_dynamic_batch_and_length(case: Case, method: str) -> None:
    call = getattr(built(case), method)
    counter = CompileCounter()
    compiled = torch.compile(call, backend=counter, fullgraph=True, dynamic=True)
    _compare(case, method, call, compiled)
    takes_mask = method != "encode_image"
    assert counter.frame_count == (2 if takes_mask else 1)  # with and without a mask


@pytest.mark.long
@torch.no_grad()
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("case, method", CALLS, ids=name)
def test_backends_agree(case: Case, method: str, backend: str) -> None:
    call = getattr(built(case), method)
    _compare(case, method, call, torch.compile(call, backend=backend, fullgraph=True, dynamic=True))


def _compare(case: Case, method: str, call: Any, compiled: Any) -> None:
    for masked in (False, True):
        for batch, length in ((2, 5), (3, 7), (5, 11)):
            inputs = case.inputs(batch, length, masked=masked, method=method)
            expected, found = tensors(call(**inputs)), tensors(compiled(**inputs))
            assert found.keys() == expected.keys()
            for key, tensor in expected.items():
                assert found[key].shape == tensor.shape and (found[key] - tensor).abs().max() <= 1e-6


def _cached_run(case: Case, masked: bool, backend: Any, dynamic: bool | None) -> list[int]:
    """A prefill of 4 and eight steps, compared with one eager call; the graphs compiled after each."""
    model: Any = built(case)
    tokens = torch.randint(0, 61, (2, 12), generator=torch.Generator().manual_seed(5))
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[0, :2] = not masked
    compiled: Any = torch.compile(model, backend=backend, fullgraph=True, dynamic=dynamic)
    expected = model(tokens, mask)
    cache, counts, start = model.new_cache(2, CONTEXT), [], 0
    for stop in (4, *range(5, 13)):
        part = mask[:, :stop].clone() if masked else None
        found = compiled(tokens[:, start:stop], part, cache=cache)
        real = mask[:, start:stop]
        assert (found - expected[:, start:stop])[real].abs().max() <= 1e-6
        assert cache["past"] == stop
        counts.append(getattr(backend, "frame_count", 0))
        start = stop
    return counts


@torch.no_grad()
@pytest.mark.parametrize("dynamic, masked", [(None, False), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("case", [c for c in ONE_EACH if c.cached], ids=name)
def test_a_cached_run_is_two_graphs(case: Case, dynamic: bool | None, masked: bool) -> None:
    """One graph for the prefill, one for every step after it: `past` is a symbol there."""
    assert _cached_run(case, masked, CompileCounter(), dynamic) == [1] + [2] * 8


@pytest.mark.long
@torch.no_grad()
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", CACHED, ids=name)
def test_backends_agree_on_steps(case: Case, masked: bool, backend: str) -> None:
    _cached_run(case, masked, backend, True)


@torch.no_grad()
def test_one_ahead_of_time_backend() -> None:
    """The cache is written in place: what functionalisation must carry through."""
    _cached_run(CACHED[0], True, "aot_eager", True)
