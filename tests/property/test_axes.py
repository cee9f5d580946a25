"""rearrange, expand, reduce, concat and slice against einops and torch on random sizes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import einops
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler import CompileError
from compiler.backend.build import build
from tests.property.one_node import Case, compiled, outputs, run

SIZES = st.integers(1, 4)


@dataclass(frozen=True)
class Tensor:
    """A tensor's axes: size of each, and whether the spec spells it as a number or as a free name."""

    sizes: dict[str, int]
    free: frozenset[str]

    @property
    def type(self) -> str:
        return "float[" + ", ".join(n if n in self.free else str(s) for n, s in self.sizes.items()) + "]"

    def make(self) -> torch.Tensor:
        return distinct(*self.sizes.values())


def distinct(*shape: int) -> torch.Tensor:
    """No two elements alike, so that every displaced element is seen; the order is not that of memory."""
    count = int(torch.tensor(shape).prod()) if shape else 1
    order = torch.randperm(count, generator=torch.Generator().manual_seed(count))
    return order.to(torch.float64).reshape(shape) + 0.5


@st.composite
def tensors(draw: st.DrawFn, fewest: int = 1, most: int = 5) -> Tensor:
    names = list("ABCDE")[: draw(st.integers(fewest, most))]
    free = draw(st.sets(st.sampled_from(names)))
    return Tensor({n: draw(SIZES) for n in names}, frozenset(free))


@st.composite
def grouped(draw: st.DrawFn, names: list[str], most: int = 3) -> list[list[str]]:
    """Names in consecutive groups; an empty group is a unit axis."""
    cuts = sorted(draw(st.sets(st.integers(1, len(names) - 1)))) if len(names) > 1 else []
    groups = [names[a:b] for a, b in pairwise([0, *cuts, len(names)])]
    groups = [part for g in groups for part in ([g] if len(g) <= most else [[n] for n in g])]
    for _ in range(draw(st.integers(0, 2))):
        groups.insert(draw(st.integers(0, len(groups))), [])
    return groups


def spelled(groups: list[list[str]]) -> str:
    return " ".join("1" if not g else g[0] if len(g) == 1 else f"({' '.join(g)})" for g in groups)


@settings(max_examples=100)
@given(st.data())
def test_rearrange(data: st.DataObject) -> None:
    """Any permutation, products of up to three axes and unit axes on both sides, sizes fixed or free."""
    whole = data.draw(tensors(1, 5))
    names = list(whole.sizes)
    left = data.draw(grouped(names))
    right = data.draw(grouped(list(data.draw(st.permutations(names)))))
    if any(len(g) > 1 for g in left):
        whole = Tensor(whole.sizes, frozenset())
    sizes = whole.sizes
    shape: dict[str, int] = {}
    for k, group in enumerate(left):
        size = 1
        for n in group:
            size *= sizes[n]
        shape[group[0] if len(group) == 1 else f"axis{k}"] = size
    declared = Tensor(shape, frozenset(whole.free & set(shape)))
    pattern = f"{spelled(left)} -> {spelled(right)}"
    inside = {n: s for g in left if len(g) > 1 for n, s in zip(g, (sizes[n] for n in g), strict=True)}
    params = ", ".join(f"{n}: {s}" for n, s in inside.items())
    x = distinct(*shape.values())
    case = Case(f'op: rearrange, in: x, pattern: "{pattern}"', {"x": declared.type}, params=params)
    assert torch.equal(run(case, x=x)["y"], einops.rearrange(x, pattern, **inside))


@given(SIZES, SIZES, SIZES, SIZES)
def test_rearrange_of_symbolic_products(b: int, t: int, h: int, d: int) -> None:
    """`(B T) h d` from free B and T, and back where another input binds T."""
    x = distinct(b, t, h * d)
    flat = Case(
        'op: rearrange, in: x, pattern: "B T (h d) -> (B T) h d"',
        {"x": f"float[B, T, {h * d}]"},
        params=f"h: {h}",
    )
    assert torch.equal(run(flat, x=x)["y"], einops.rearrange(x, "b t (h d) -> (b t) h d", h=h))
    whole = Case(
        'op: rearrange, in: f, pattern: "(B T) D -> B D T"', {"x": f"float[B, T, {h * d}]"},
        before='  f: {op: rearrange, in: x, pattern: "B T D -> (B T) D"}\n',
    )  # fmt: skip
    assert torch.equal(run(whole, x=x)["y"], einops.rearrange(x, "b t d -> b d t"))
    bound = Case(
        'op: rearrange, in: x, pattern: "b (T h) d -> b d h T"',
        {"t": "int[T]", "x": f"float[{b}, =T * h, {d}]"},
        params=f"h: {h}", outputs="y: y, t: t",
    )  # fmt: skip
    y = distinct(b, t * h, d)
    found = run(bound, x=y, t=torch.zeros(t, dtype=torch.int64))["y"]
    assert torch.equal(found, einops.rearrange(y, "b (t h) d -> b d h t", h=h))


@settings(max_examples=100)
@given(st.data())
def test_expand(data: st.DataObject) -> None:
    """Axes added in any place with a number, a param or a free size of another input; unit axes widened."""
    whole = data.draw(tensors(1, 3))
    names = list(whole.sizes)
    left = [[n] for n in names]
    for _ in range(data.draw(st.integers(0, 2))):
        left.insert(data.draw(st.integers(0, len(left))), [])
    target = list(names)
    fresh = data.draw(st.lists(st.sampled_from(["R", "P", "3", "1"]), max_size=3))
    for name in fresh:
        target.insert(data.draw(st.integers(0, len(target))), name)
    assume(target.count("R") < 2 and target.count("P") < 2)
    sizes = {**whole.sizes, "R": data.draw(SIZES), "P": data.draw(SIZES), "3": 3, "1": 1}
    shape = Tensor(
        {**{g[0] if g else f"unit{k}": whole.sizes[g[0]] if g else 1 for k, g in enumerate(left)}}, whole.free
    )
    pattern = f"{spelled(left)} -> {' '.join(target)}"
    x = {"x": shape.make(), **({"r": torch.zeros(sizes["R"], dtype=torch.int64)} if "R" in fresh else {})}
    inputs = {"x": shape.type, **({"r": "int[R]"} if "R" in fresh else {})}
    params, kept = f"P: {sizes['P']}" if "P" in fresh else "", "y: y, r: r" if "R" in fresh else "y: y"
    case = Case(f'op: expand, in: x, pattern: "{pattern}"', inputs, params=params, outputs=kept)
    plain = x["x"].reshape([whole.sizes[n] for n in names])
    thin = plain.reshape([sizes[n] if n in names else 1 for n in target])
    assert torch.equal(run(case, **x)["y"], thin.expand([sizes[n] for n in target]))


REDUCED = {
    "sum": lambda x, axes: x.sum(axes),
    "mean": lambda x, axes: x.mean(axes),
    "max": lambda x, axes: x.amax(axes),
    "var": lambda x, axes: ((x - x.mean(axes, keepdim=True)) ** 2).mean(axes),
    "argmax": lambda x, axes: x.argmax(axes[0]),
    "first": lambda x, axes: x.select(axes[0], 0),
}


@given(st.data())
def test_reduce(data: st.DataObject) -> None:
    """Any subset of axes, of which the output drops all or some and keeps the others as 1."""
    whole = data.draw(tensors(1, 4))
    names = list(whole.sizes)
    fn = data.draw(st.sampled_from(sorted(REDUCED)))
    most = 1 if fn in ("argmax", "first") else len(names)
    gone = sorted(data.draw(st.sets(st.sampled_from(names), min_size=1, max_size=most)))
    units = data.draw(st.sets(st.sampled_from(gone)))
    target = ["1" if n in units else n for n in names if n not in gone or n in units]
    case = Case(
        f'op: reduce, in: x, fn: {fn}, pattern: "{" ".join(names)} -> {" ".join(target)}"', {"x": whole.type}
    )
    x = whole.make()
    found = run(case, x=x)["y"]
    expected = REDUCED[fn](x, [names.index(n) for n in gone])
    shape = [1 if n == "1" else whole.sizes[n] for n in target]
    torch.testing.assert_close(found, expected.reshape(shape), rtol=1e-12, atol=1e-12)


@given(st.data())
def test_reduce_of_products(data: st.DataObject) -> None:
    """Groups of axes on either side: some factors of a product go, others stay, kept ones may join."""
    sizes = {n: data.draw(SIZES) for n in "abcd"}
    groups = data.draw(grouped(list(sizes)))
    gone = sorted(data.draw(st.sets(st.sampled_from("abcd"), min_size=1, max_size=3)))
    kept = [n for n in sizes if n not in gone]
    right = data.draw(grouped(kept))
    shape = [int(torch.tensor([sizes[n] for n in g]).prod()) if g else 1 for g in groups]
    fn = data.draw(st.sampled_from(["sum", "mean", "max"]))
    pattern = f"{spelled(groups)} -> {spelled(right)}"
    params = ", ".join(f"{n}: {s}" for n, s in sizes.items())
    case = Case(
        f'op: reduce, in: x, fn: {fn}, pattern: "{pattern}"',
        {"x": f"float[{', '.join(map(str, shape))}]"},
        params=params,
    )
    x = distinct(*shape)
    inside = {n: sizes[n] for g in groups if len(g) > 1 for n in g}
    torch.testing.assert_close(
        run(case, x=x)["y"], einops.reduce(x, pattern, fn, **inside), rtol=1e-12, atol=1e-12
    )


@given(st.data())
def test_reduce_any(data: st.DataObject) -> None:
    b, t, d = (data.draw(SIZES) for _ in range(3))
    x = torch.rand(b, t, d, generator=torch.Generator().manual_seed(b * 25 + t * 5 + d)) < 0.3
    case = Case('op: reduce, in: x, fn: any, pattern: "B T D -> B D"', {"x": f"bool[B, {t}, D]"})
    assert torch.equal(run(case, x=x)["y"], x.sum(1) > 0)


@given(st.data())
def test_concat(data: st.DataObject) -> None:
    """Two or three tensors, the joined axis fixed or free, counted from either end."""
    whole = data.draw(tensors(1, 4))
    names = list(whole.sizes)
    axis = data.draw(st.integers(-len(names), len(names) - 1))
    parts: list[Tensor] = []
    for k in range(data.draw(st.integers(2, 3))):
        own = f"N{k}"
        sizes = {own if n == names[axis] else n: s for n, s in whole.sizes.items()}
        sizes[own] = data.draw(SIZES)
        parts.append(
            Tensor(
                {n: sizes[n] for n in (own if m == names[axis] else m for m in names)},
                whole.free | data.draw(st.sets(st.just(own))),
            )
        )
    xs = [p.make() + 1000 * k for k, p in enumerate(parts)]
    inputs = {f"x{k}": p.type for k, p in enumerate(parts)}
    case = Case(f"op: concat, in: [{', '.join(inputs)}], axis: {axis}", inputs)
    assert torch.equal(run(case, **dict(zip(inputs, xs, strict=True)))["y"], torch.cat(xs, axis))


@given(st.data())
def test_slice(data: st.DataObject) -> None:
    """Start and stop from either end; a free axis may cut the slice short."""
    whole = data.draw(tensors(1, 3))
    names = list(whole.sizes)
    axis = data.draw(st.integers(-len(names), len(names) - 1))
    start, stop = data.draw(st.integers(-4, 4)), data.draw(st.none() | st.integers(-4, 5))
    size = whole.sizes[names[axis]]
    assume(names[axis] in whole.free or range(size)[start:stop])  # an empty slice is refused
    assume(stop is None or (start < stop if (start < 0) == (stop < 0) else stop != 0))
    stopped = "" if stop is None else f", stop: {stop}"
    x = whole.make()
    found = run(Case(f"op: slice, in: x, axis: {axis}, start: {start}{stopped}", {"x": whole.type}), x=x)["y"]
    assert torch.equal(found, x.movedim(axis, 0)[start:stop].movedim(0, axis))


@pytest.mark.parametrize("stop", [None, *range(-4, 6)])
@pytest.mark.parametrize("start", range(-4, 5))
def test_every_slice_of_a_free_axis(start: int, stop: int | None) -> None:
    """One program serves every length, those that cut the slice short or leave nothing of it included."""
    stopped = "" if stop is None else f", stop: {stop}"
    case = Case(f"op: slice, in: x, axis: 1, start: {start}{stopped}", {"x": "float[B, T]"})
    if not any(range(size)[start:stop] for size in range(1, 20)):
        with pytest.raises(CompileError, match="empty"):
            compiled(case)
        return
    program = compiled(case)
    module = build(program, dtype=torch.float64)
    for size in range(1, 8):
        x = distinct(2, size)
        assert torch.equal(outputs(program, module, x=x)["y"], x[:, start:stop])
