"""argsort, topk, split, pad, random, grouped_linear and cross_entropy against plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st

from compiler.backend.build import build
from tests.property.one_node import Case, compiled, cost, outputs, run

SIZES = st.integers(1, 5)


def draws(*shape: int) -> torch.Tensor:
    """Few distinct numbers, so that equal ones occur."""
    found = torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(math.prod(shape)))
    return found.to(torch.float64) / 2


def rows(x: torch.Tensor, axis: int) -> list[list[float]]:
    return x.movedim(axis, -1).reshape(-1, x.shape[axis]).tolist()


def stacked(values: Sequence[Sequence[float]], like: torch.Tensor, axis: int) -> torch.Tensor:
    """Rows put back along an axis."""
    moved = like.movedim(axis, -1)
    return torch.tensor(values, dtype=torch.float64).reshape(*moved.shape[:-1], -1).movedim(-1, axis)


@given(SIZES, SIZES, st.sampled_from([-2, -1, 0, 1]))
def test_argsort(b: int, t: int, axis: int) -> None:
    x = draws(b, t)
    found = run(Case(f"op: argsort, in: x, axis: {axis}", {"x": "float[B, T]"}), x=x)["y"]
    expected = [sorted(range(len(row)), key=row.__getitem__) for row in rows(x, axis)]
    assert torch.equal(found.double(), stacked(expected, x, axis))


@given(SIZES, st.integers(3, 6), st.integers(1, 3))
def test_topk(b: int, t: int, k: int) -> None:
    x = torch.randperm(b * t, generator=torch.Generator().manual_seed(t)).double().reshape(b, t)
    case = Case(f"op: topk, in: x, k: {k}", {"x": f"float[B, {t}]"}, outputs="value: y.value, index: y.index")
    found = run(case, x=x)
    expected = [sorted(row, reverse=True)[:k] for row in rows(x, -1)]
    assert found["value"].tolist() == expected
    assert torch.equal(x.gather(-1, found["index"]), found["value"])


@given(SIZES, SIZES, SIZES, st.sampled_from([-1, 1]))
def test_split(b: int, first: int, second: int, axis: int) -> None:
    x = draws(b, first + second)
    case = Case(
        f"op: split, in: x, axis: {axis}, into: {{p: {first}, q: {second}}}",
        {"x": f"float[B, {first + second}]"},
        outputs="p: y.p, q: y.q",
    )
    found = run(case, x=x)
    assert torch.equal(found["p"], x[:, :first]) and torch.equal(found["q"], x[:, first:])


@given(SIZES, st.integers(2, 5), st.integers(-1, 3), st.integers(0, 3), st.sampled_from([0, 1.5]))
def test_pad(b: int, t: int, before: int, after: int, value: float) -> None:
    x = draws(b, t)
    node = f"op: pad, in: x, axis: 1, before: {before}, after: {after}, value: {value}"
    expected = [[value] * before + row[max(0, -before) :] + [value] * after for row in x.tolist()]
    assert run(Case(node, {"x": "float[B, T]"}), x=x)["y"].tolist() == expected


@given(SIZES, st.sampled_from(["uniform", "normal"]))
def test_random(t: int, dist: str) -> None:
    """Of the type that was inferred, new at each call, with the moments of its distribution."""
    case = Case(f"op: random, in: x, shape: [=T, 4000], dist: {dist}", {"x": "float[T]"})
    program = compiled(case)
    module = build(program, dtype=torch.float64)
    torch.manual_seed(0)
    first, second = (outputs(program, module, x=torch.zeros(t, dtype=torch.float64))["y"] for _ in range(2))
    assert not torch.equal(first, second)
    mean, deviation = (0.5, 12**-0.5) if dist == "uniform" else (0.0, 1.0)
    assert abs(first.mean().item() - mean) < 0.1 and abs(first.std().item() - deviation) < 0.1
    assert dist == "normal" or (first.min() >= 0 and first.max() < 1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), SIZES, SIZES, st.booleans())
def test_grouped_linear(counts: list[int], width: int, out: int, bias: bool) -> None:
    """Each row through the map of its group; groups without rows included."""
    x = draws(sum(counts), width)
    program = compiled(
        Case(
            f"op: grouped_linear, in: [x, n], num: {len(counts)}, out: {out}, bias: {str(bias).lower()}",
            {"x": f"float[R, {width}]", "n": f"int[{len(counts)}]"},
        )
    )
    module = build(program, dtype=torch.float64)
    found = outputs(program, module, x=x, n=torch.tensor(counts))["y"]
    weights = dict(module.named_parameters())
    group = [g for g, count in enumerate(counts) for _ in range(count)]
    expected = torch.einsum("ri,roi->ro", x, weights["y.weight"][group])
    torch.testing.assert_close(found, expected + weights["y.bias"][group] if bias else expected)
    assert cost(program, {"x": x}) == 2 * sum(counts) * width * out


@given(SIZES, SIZES, st.integers(2, 5), st.sampled_from([0.0, 0.1]), st.booleans())
def test_cross_entropy(b: int, t: int, v: int, smoothing: float, flat: bool) -> None:
    x = draws(b, t, v)
    labels = torch.randint(v, (b, t), generator=torch.Generator().manual_seed(v))
    labels[0, 0], ignored = 0, 0 if b * t > 1 and (labels != 0).any() else -100
    inputs = {"x": f"float[B, T, {v}]", "z": "int[B, T]"}
    if flat:
        x, labels, inputs = x.flatten(0, 1), labels.flatten(), {"x": f"float[B, {v}]", "z": "int[B]"}
    program = compiled(
        Case(f"op: cross_entropy, in: [x, z], ignore: {ignored}, smoothing: {smoothing}", inputs)
    )
    found = outputs(program, build(program, dtype=torch.float64), x=x, z=labels)["y"]
    losses = []
    for scores, label in zip(x.reshape(-1, v).tolist(), labels.flatten().tolist(), strict=True):
        logs = [s - math.log(sum(math.exp(w) for w in scores)) for s in scores]
        if label != ignored:
            losses.append(-(1 - smoothing) * logs[label] - smoothing * sum(logs) / v)
    torch.testing.assert_close(found, torch.tensor(sum(losses) / len(losses), dtype=torch.float64))
    assert cost(program, {"x": x}) == 5 * x.numel()
