"""activation, add, mul, softmax, cast and dropout, with what they cost."""

from __future__ import annotations

import math
import operator
from functools import reduce

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.backend.build import build
from tests.property.one_node import TORCH, Case, compiled, cost, outputs

SIZES = st.integers(1, 4)
ACTIVATIONS = {
    "gelu": lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2,
    "gelu_tanh": lambda v: v / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    "quick_gelu": lambda v: v / (1 + math.exp(-1.702 * v)),
    "relu": lambda v: max(v, 0.0),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "tanh": math.tanh,
}


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def kind(data: st.DataObject, sizes: list[int], dtype: str = "float") -> str:
    """A type whose axes are drawn to be numbers or free names."""
    axes = (f"A{k}" if data.draw(st.booleans()) else str(s) for k, s in enumerate(sizes))
    return f"{dtype}[{', '.join(axes)}]"


@pytest.mark.parametrize("fn", ACTIVATIONS)
@settings(max_examples=10)
@given(st.data())
def test_activation(fn: str, data: st.DataObject) -> None:
    shape = data.draw(st.lists(SIZES, max_size=3))
    program = compiled(Case(f"op: activation, in: x, fn: {fn}", {"x": kind(data, shape)}))
    x = normal(*shape) * 3
    found = outputs(program, build(program, dtype=torch.float64), x=x)["y"]
    expected = torch.tensor([ACTIVATIONS[fn](v) for v in x.flatten().tolist()], dtype=torch.float64).reshape(
        shape
    )
    torch.testing.assert_close(found, expected)
    assert cost(program, {"x": x}) == 8 * x.numel()


@pytest.mark.parametrize("op", ["add", "mul"])
@given(st.data())
def test_add_and_mul(op: str, data: st.DataObject) -> None:
    """Two or three tensors of unequal ranks and dtypes, axes of 1 expanded; one operation each."""
    whole = data.draw(st.lists(SIZES, min_size=1, max_size=3))
    free = [data.draw(st.booleans()) for _ in whole]
    inputs, tensors = {}, {}
    for k in range(data.draw(st.integers(2, 3))):
        start = data.draw(st.integers(0, len(whole)))
        ones = [data.draw(st.booleans()) for _ in whole]
        axes = range(start, len(whole))
        dtype = data.draw(st.sampled_from(["float", "float", "int", "int32", "bool"]))
        names = ["1" if ones[a] else f"A{a}" if free[a] else str(whole[a]) for a in axes]
        value = normal(*(1 if ones[a] else whole[a] for a in axes)) * 4 + k
        inputs[f"x{k}"] = f"{dtype}[{', '.join(names)}]"
        tensors[f"x{k}"] = value > 0 if dtype == "bool" else value.to(TORCH[dtype])
    program = compiled(Case(f"op: {op}, in: [{', '.join(inputs)}]", inputs))
    expected = reduce(operator.add if op == "add" else operator.mul, tensors.values())
    found = outputs(program, build(program, dtype=torch.float64), **tensors)["y"]
    torch.testing.assert_close(found, expected)
    assert cost(program, tensors) == found.numel() * (len(inputs) - 1)


@given(st.data())
def test_softmax(data: st.DataObject) -> None:
    shape = data.draw(st.lists(SIZES, min_size=1, max_size=3))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    program = compiled(Case(f"op: softmax, in: x, axis: {axis}", {"x": kind(data, shape)}))
    x = normal(*shape) * 5
    found = outputs(program, build(program, dtype=torch.float64), x=x)["y"]
    torch.testing.assert_close(found, x.exp() / x.exp().sum(axis, keepdim=True))
    assert cost(program, {"x": x}) == 5 * x.numel()


@given(st.data(), st.sampled_from(sorted(TORCH)), st.sampled_from(sorted(TORCH)))
def test_cast(data: st.DataObject, before: str, after: str) -> None:
    """From any dtype to any; `float` is that of the module, taken from another value."""
    shape = data.draw(st.lists(SIZES, max_size=3))
    x = (normal(*shape) * 4).to(TORCH[before])
    case = Case(
        "op: cast, in: [x, like]" if after == "float" else f"op: cast, in: x, dtype: {after}",
        {"x": kind(data, shape, before), "like": "float[2]"},
        outputs="y: y, l: like",
    )
    program = compiled(case)
    found = outputs(program, build(program, dtype=torch.float64), x=x, like=normal(2))["y"]
    assert torch.equal(found, x.to(TORCH[after]))


@given(st.floats(0, 0.9), st.booleans())
def test_dropout(p: float, training: bool) -> None:
    """In training the kept elements are scaled so that the mean stays; elsewhere nothing happens."""
    assume(p == 0 or p > 0.05)
    program = compiled(Case(f"op: dropout, in: x, p: {p}", {"x": "float[B, 50]"}))
    module = build(program, dtype=torch.float64).train(training)
    torch.manual_seed(0)
    x = normal(40, 50) + 10
    found = outputs(program, module, x=x)["y"] if p else module(x)
    kept = found != 0
    torch.testing.assert_close(found[kept], x[kept] / (1 - p if training else 1))
    share = kept.double().mean().item()
    assert abs(share - (1 - p if training else 1)) < 0.06
