"""torch.compile takes forward, every method and a cached step whole, and compiles no step twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from tests.emission.models import CACHED, CASES, CONTEXT, Case, built, tensors

CALLS = [(case, method) for case in CASES for method in ("forward", *case.methods)]
BACKENDS = ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)]


@pytest.fixture(autouse=True)
def fresh_dynamo() -> None:
    torch._dynamo.reset()


@torch.no_grad()
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case, method", CALLS, ids=lambda x: x if isinstance(x, str) else x.name)
def test_forward_with_dynamic_batch_and_length(case: Case, method: str, backend: str) -> None:
    model = built(case)
    call = getattr(model, method)
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(call, backend=counter, fullgraph=True, dynamic=True)
    for masked in (False, True):
        for batch, length in ((2, 5), (3, 7), (5, 11)):
            inputs = case.inputs(batch, length, masked=masked)
            if method in case.methods:
                inputs = {n: inputs[n] for n in case.methods[method] if n in inputs}
            expected, found = tensors(call(**inputs)), tensors(compiled(**inputs))
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                assert found[name].shape == tensor.shape and (found[name] - tensor).abs().max() <= 1e-6
    takes_mask = method == "forward" or "mask" in case.methods[method]
    assert counter.frame_count == (2 if takes_mask else 1)  # with and without a mask


@torch.no_grad()
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("case", CACHED, ids=lambda c: c.name)
def test_a_cached_run_is_two_graphs(case: Case, dynamic: bool | None, masked: bool, backend: str) -> None:
    """One graph for the prefill, one for every step after it: `past` is a symbol there."""
    model: Any = built(case)
    tokens = torch.randint(0, 61, (2, 12), generator=torch.Generator().manual_seed(5))
    mask = torch.ones(2, 12, dtype=torch.bool) if masked else None
    if mask is not None:
        mask[0, :2] = False
        torch._dynamo.mark_dynamic(mask, 1)
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(model, backend=counter, fullgraph=True, dynamic=dynamic)
    expected = model(tokens, mask)
    cache, counts, start = model.new_cache(2, CONTEXT), [], 0
    for stop in (4, *range(5, 13)):
        part = None if mask is None else mask[:, :stop].clone()
        found = compiled(tokens[:, start:stop], part, cache=cache)
        real = slice(None) if part is None else part[:, start:stop]
        assert (found - expected[:, start:stop])[real].abs().max() <= 1e-6
        assert cache["past"] == stop
        counts.append(counter.frame_count)
        start = stop
    assert counts[0] == 1 and counts[-1] == counts[2] <= 3, counts
    if dynamic or not masked:
        assert counts[-1] == 2, counts
