"""positions and cache: tokens that come in chunks, padded on either side, against the whole sequence."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compiler.backend.build import build
from tests.property.one_node import Case, check_type, compiled, outputs

SIZES = st.integers(1, 4)

MASKED = {"x": "float[B, T, 3]", "mask": "bool[B, K]?"}
STATEFUL = Case(
    "op: cache, in: {k: h, v: x}, axis: T", MASKED,
    before="  h: {op: linear, in: x, out: 2}\n  p: {op: positions, in: {x: x, mask: mask}}\n",
    outputs="k: y.k, v: y.v, q: p.q, t: p.t, s: p.k",
)  # fmt: skip


def padded(lengths: list[int], total: int, side: str) -> torch.Tensor:
    """The mask of sequences of these lengths, padding on one side."""
    slots = torch.arange(total)
    rows = [slots < n if side == "right" else slots >= total - n for n in lengths]
    return torch.stack(rows)


def places(mask: torch.Tensor) -> torch.Tensor:
    """How many real tokens stand before each slot (0 in front of the first)."""
    counts = [[sum(row[: k + 1]) - 1 for k in range(len(row))] for row in mask.tolist()]
    return torch.tensor(counts).clamp(min=0)


@pytest.mark.parametrize("side", ["none", "left", "right"])
@given(st.data())
def test_chunks(side: str, data: st.DataObject) -> None:
    """Any chunking gives, at each step, what has been seen so far: values, shapes, positions and slots."""
    batch, chunks = data.draw(SIZES), data.draw(st.lists(SIZES, min_size=1, max_size=4))
    total = sum(chunks)
    lengths = [data.draw(st.integers(1, total)) for _ in range(batch)]
    mask = None if side == "none" else padded(lengths, total, side)
    expected = torch.arange(total).expand(batch, total) if mask is None else places(mask)
    x = torch.randn(batch, total, 3, generator=torch.Generator().manual_seed(total), dtype=torch.float64)
    program = compiled(STATEFUL)
    module: Any = build(program, dtype=torch.float64)
    capacity = total + data.draw(st.integers(0, 2))
    cache = module.new_cache(batch, capacity)
    linear = x @ module.h.weight.T + module.h.bias
    for stop, length in zip(accumulate(chunks), chunks, strict=True):
        start = stop - length
        found = module(x[:, start:stop], None if mask is None else mask[:, :stop], cache=cache)
        torch.testing.assert_close(found.k, linear[:, :stop])
        assert torch.equal(found.v, x[:, :stop])
        assert torch.equal(found.q, expected[:, start:stop])
        assert torch.equal(found.t, torch.arange(start, stop))
        assert torch.equal(found.s, torch.arange(stop))
        root = program.typed.root
        for name, ref in root.block.outputs.items():
            check_type(root.type_of(ref), getattr(found, name), {"B": batch, "T": length, "K": stop})
    with pytest.raises(ValueError, match="the cache holds"):
        module(x[:, :1].expand(batch, capacity + 1, 3), cache=cache)


@given(SIZES, SIZES)
def test_without_a_cache_the_inputs_pass_through(batch: int, length: int) -> None:
    module = build(compiled(STATEFUL), dtype=torch.float64)
    x = torch.randn(batch, length, 3, dtype=torch.float64)
    found = module(x)
    assert torch.equal(found.v, x) and torch.equal(found.s, found.t)


@given(SIZES, SIZES, st.sampled_from(["left", "right"]))
def test_positions_of_a_module_that_remembers_nothing(batch: int, length: int, side: str) -> None:
    mask = padded([1 + k % length for k in range(batch)], length, side)
    case = Case(
        "op: positions, in: {x: x, mask: mask}",
        {"x": "int[B, T]", "mask": "bool[B, T]"},
        outputs="q: y.q, t: y.t, k: y.k",
    )
    program = compiled(case)
    found = outputs(program, build(program), x=torch.zeros(batch, length, dtype=torch.int64), mask=mask)
    assert torch.equal(found["q"], places(mask))
    assert torch.equal(found["t"], torch.arange(length)) and torch.equal(found["k"], found["t"])
