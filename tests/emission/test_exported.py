"""torch.export takes forward with dynamic batch and length, and a cached step.

A step's cache is the plain dict that `new_cache` gives: a pytree of tensors and the int `past`. Exported,
`past` is an input like any other: `Dim.DYNAMIC` keeps it a symbol; left out, export fixes it at its value and
the program refuses any other. A program's inputs are copies of its caller's containers: the tensors are
written in place, `cache["past"]` is not, so that who calls the program counts on.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.export import Dim, export

from tests.emission.models import CONTEXT, ONE_EACH, Case, built, name, tensors

Shapes = dict[str, Any]


def _named(case: Case, inputs: dict[str, torch.Tensor]) -> Shapes:
    """Dims with the bounds of the spec."""
    batch, texts, length, read = (
        Dim("B", max=64),
        Dim("C", max=64),
        Dim("T", min=2, max=CONTEXT),
        Dim("S", min=2),
    )
    rows = texts if case.spec in ("clip_vitb32", "siglip") else batch
    known = {"pixels": {0: batch}, "source": {0: batch, 1: read}, "source_mask": {0: batch, 1: read}}
    return {n: known.get(n, {0: rows, 1: length}) for n in inputs}


def _auto(case: Case, inputs: dict[str, torch.Tensor]) -> Shapes:
    return {n: {0: Dim.AUTO} if n == "pixels" else {0: Dim.AUTO, 1: Dim.AUTO} for n in inputs}


class _Method(torch.nn.Module):
    """export takes a module's forward; this one is a method of another."""

    def __init__(self, model: torch.nn.Module, method: str, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        self.model = model
        self.method = method

    def forward(self, *inputs: torch.Tensor) -> Any:
        return getattr(self.model, self.method)(**dict(zip(self.names, inputs, strict=True)))


@torch.no_grad()
@pytest.mark.parametrize("shapes", [_named, _auto])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", ONE_EACH, ids=name)
def test_forward(case: Case, masked: bool, shapes: Any) -> None:
    model = built(case)
    inputs = case.inputs(3, 7, masked=masked)
    program = export(model, (), inputs, dynamic_shapes=shapes(case, inputs)).module()
    for batch, length in ((3, 7), (2, 11), (5, CONTEXT)):
        inputs = case.inputs(batch, length, masked=masked, seed=1)
        expected, found = tensors(model(**inputs)), tensors(program(**inputs))
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            assert (found[key] - tensor).abs().max() <= 1e-6


@torch.no_grad()
@pytest.mark.parametrize("case, method", [(c, m) for c in ONE_EACH for m in c.methods], ids=name)
def test_methods(case: Case, method: str) -> None:
    model = built(case)

    example = case.inputs(3, 7, masked=True, method=method)
    shapes = (tuple(_auto(case, example).values()),)
    program = export(
        _Method(model, method, tuple(example)), tuple(example.values()), dynamic_shapes=shapes
    ).module()
    other = case.inputs(2, 11, masked=True, method=method)
    expected = getattr(model, method)(**other)
    assert (program(*other.values()) - expected).abs().max() <= 1e-6


def _cache_shapes(cache: Any) -> Any:
    """Batch and capacity of every tensor dynamic, `past` a symbol."""
    return torch.utils._pytree.tree_map(
        lambda x: {0: Dim.AUTO, 2: Dim.AUTO} if isinstance(x, torch.Tensor) else Dim.DYNAMIC, cache
    )


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("chunk", [1, 3], ids=["step", "chunk"])
@pytest.mark.parametrize("case", [c for c in ONE_EACH if c.cached], ids=name)
def test_cached_step(case: Case, masked: bool, chunk: int) -> None:
    model: Any = built(case)
    cache = model.new_cache(2, 12)
    model(torch.zeros(2, 5, dtype=torch.long), cache=cache)
    inputs: dict[str, Any] = {"tokens": torch.zeros(2, chunk, dtype=torch.long), "cache": cache}
    shapes: Shapes = {"tokens": {0: Dim.AUTO}, "cache": _cache_shapes(cache)}
    if masked:
        inputs["mask"] = torch.ones(2, 5 + chunk, dtype=torch.bool)
        shapes["mask"] = {0: Dim.AUTO, 1: Dim.AUTO}
    program = export(model, (), inputs, dynamic_shapes=shapes).module()

    tokens = torch.randint(0, 61, (3, 13), generator=torch.Generator().manual_seed(6))
    mask = torch.ones(3, 13, dtype=torch.bool)
    mask[1, :2] = False
    whole = model(tokens, mask if masked else None)
    cache = model.new_cache(3, CONTEXT)
    start = 4
    model(tokens[:, :start], mask[:, :start] if masked else None, cache=cache)
    while start + chunk <= 13:
        stop = start + chunk
        more = {"mask": mask[:, :stop]} if masked else {}
        found = program(tokens=tokens[:, start:stop], cache=cache, **more)
        assert (found - whole[:, start:stop]).abs().max() <= 1e-6
        assert cache["past"] == start
        cache["past"] = start = stop
    assert start >= 12
