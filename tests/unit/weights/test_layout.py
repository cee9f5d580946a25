"""Layouts on random patterns: equal to reshape, narrow and permute, and their own inverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.plan import plan, plan_export
from runtime.load_plan import export_plan, load_plan
from tests.unit.weights import maps, tables


@dataclass(frozen=True)
class Case:
    """A layout between one tensor of theirs and one or more of ours, joined along the axis `*`."""

    sizes: Mapping[str, int]  # of the plain axes
    members: tuple[int, ...]  # size of each member along the sum; empty: no sum
    theirs: tuple[tuple[str, ...], ...]
    ours: tuple[tuple[str, ...], ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = list("abcd")[: draw(st.integers(1, 4))]
    sizes = {name: draw(st.integers(1, 4)) for name in names}
    members = tuple(draw(st.lists(st.integers(1, 3), min_size=2, max_size=3))) if draw(st.booleans()) else ()
    atoms = names + (["*"] if members else [])

    def side() -> tuple[tuple[str, ...], ...]:
        dims: list[tuple[str, ...]] = []
        for name in draw(st.permutations(atoms)):
            if dims and draw(st.integers(0, 2)) == 0:
                dims[-1] = (*dims[-1], name)
            else:
                dims.append((name,))
            if draw(st.integers(0, 4)) == 0:
                dims.append(("1",))
        return tuple(dims)

    return Case(sizes, members, side(), side())


def spelled(side: tuple[tuple[str, ...], ...], star: str) -> str:
    words = [" ".join(star if name == "*" else name for name in dim) for dim in side]
    return " ".join(f"({word})" if len(dim) > 1 else word for word, dim in zip(words, side, strict=True))


def extents(case: Case, side: tuple[tuple[str, ...], ...], star: int) -> list[list[int]]:
    sizes = {**case.sizes, "*": star, "1": 1}
    return [[sizes[name] for name in dim] for dim in side]


def reference(case: Case, source: torch.Tensor, member: int) -> torch.Tensor:
    """reshape -> narrow -> permute -> reshape."""
    flat = [name for dim in case.theirs for name in dim]
    total = sum(case.members) or 1
    tensor = source.reshape([n for dim in extents(case, case.theirs, total) for n in dim])
    size = case.members[member] if case.members else 1
    if case.members:
        tensor = tensor.narrow(flat.index("*"), sum(case.members[:member]), size)
    kept = [name for name in flat if name != "1"]
    tensor = tensor.reshape([tensor.shape[n] for n, name in enumerate(flat) if name != "1"])
    order = [kept.index(name) for dim in case.ours for name in dim if name != "1"]
    return tensor.permute(order).reshape([prod(dim) for dim in extents(case, case.ours, size)])


@settings(max_examples=150, deadline=None)
@given(cases())
def test_layouts_equal_reshape_narrow_permute(case: Case) -> None:
    count = len(case.members) or 1
    sum_axis = "[" + "|".join(f"n{m}" for m in range(count)) + "]"
    right = "[" + "|".join(f"m{m}" for m in range(count)) + "]" if case.members else "m0"
    lets = {**case.sizes, **{f"n{m}": size for m, size in enumerate(case.members)}}
    let = "{" + ", ".join(f"{name}: {size}" for name, size in lets.items()) + "}"
    layout = f"{spelled(case.theirs, sum_axis)} -> {spelled(case.ours, '*')}"
    shape = [prod(dim) for dim in extents(case, case.theirs, sum(case.members) or 1)]
    source = {"t": torch.arange(prod(shape)).float().reshape(shape)}
    with TemporaryDirectory() as name:
        loads = maps.write(Path(name), f'let: {let}\nrules: ["t <> {right} as {layout}"]\n')
    wanted = {f"m{m}": reference(case, source["t"], m) for m in range(count)}
    table = maps.ours({key: tuple(tensor.shape) for key, tensor in wanted.items()})
    module = tables.module(table)
    made = plan(loads, table, tables.header(source))
    load_plan(made, source.__getitem__, module)
    for key, tensor in wanted.items():
        assert torch.equal(module.state_dict()[key], tensor), layout
    for way in (made, plan_export(loads, table)):
        back = dict(export_plan(way, module))
        assert list(back) == ["t"] and torch.equal(back["t"], source["t"]) and back["t"].is_contiguous()


def roundtrip(
    folder: Path, body: str, ours: maps.Shapes, source: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    table = maps.ours(ours)
    made = plan(maps.write(folder, body), table, tables.header(source))
    module = tables.module(table)
    load_plan(made, source.__getitem__, module)
    back = dict(export_plan(made, module))
    assert list(back) == list(source) and all(torch.equal(back[key], source[key]) for key in source)
    return dict(module.state_dict())


def test_experts_are_stacked_and_fused(tmp_path: Path) -> None:
    body = """\
index: {i: 2, e: 11}
rules:
  - l.{i}.x.{e}.[w1|w3] <> l.{i}.gate_up as * i -> {e} [f|f] i
  - l.{i}.x.{e}.w2 <> l.{i}.down as o f -> {e} f o
"""
    source = {
        f"l.{i}.x.{e}.{w}": torch.randn((2, 5) if w == "w2" else (3, 2))
        for i in range(2)
        for e in range(11)
        for w in ("w1", "w3", "w2")
    }
    shapes = {f"l.{i}.gate_up": (11, 6, 2) for i in range(2)} | {f"l.{i}.down": (11, 5, 2) for i in range(2)}
    state = roundtrip(tmp_path, body, shapes, source)
    assert torch.equal(state["l.1.gate_up"][10], torch.cat([source["l.1.x.10.w1"], source["l.1.x.10.w3"]]))
    assert torch.equal(state["l.1.down"][10], source["l.1.x.10.w2"].T)


def test_grouped_heads_in_one_matrix(tmp_path: Path) -> None:
    """Falcon: per group r query heads, one key and one value head; unequal members inside a product."""
    body = 'let: {G: 2, r: 3, d: 4}\nrules: ["qkv <> [q|k|v] as (G [r|1|1] d) i -> (G * d) i"]\n'
    source = {"qkv": torch.randn(2 * 5 * 4, 7)}
    state = roundtrip(tmp_path, body, {"q": (24, 7), "k": (8, 7), "v": (8, 7)}, source)
    grouped = source["qkv"].view(2, 5, 4, 7)
    assert torch.equal(state["q"], grouped[:, :3].reshape(24, 7))
    assert torch.equal(state["v"], grouped[:, 4].reshape(8, 7))


def test_rotation_is_permuted_per_head(tmp_path: Path) -> None:
    """As llama.cpp's converter permutes: heads for q, fewer for k, a head size that is not dim / heads."""
    body = (
        'let: {H: 4, K: 2}\nrules: ["q <> q as (H d 2) i -> (H 2 d) i", "k <> k as (K d 2) i -> (K 2 d) i"]\n'
    )

    def permute(weight: torch.Tensor, heads: int) -> torch.Tensor:
        rows, columns = weight.shape
        return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)

    q, k = torch.randn(4 * 8, 5), torch.randn(2 * 8, 5)
    source = {"q": permute(q, 4), "k": permute(k, 2)}
    state = roundtrip(tmp_path, body, {"q": (32, 5), "k": (16, 5)}, source)
    assert torch.equal(state["q"], q) and torch.equal(state["k"], k)
    assert not torch.equal(permute(k, 4), permute(k, 2))


def test_unit_axes_and_constant_axes(tmp_path: Path) -> None:
    body = 'rules: ["cls <> cls as 1 1 d -> d", "pos <> pos as 1 n d -> n d", "w <> w as (d 2) -> 2 d"]\n'
    source = {"cls": torch.randn(1, 1, 5), "pos": torch.randn(1, 3, 5), "w": torch.randn(6)}
    state = roundtrip(tmp_path, body, {"cls": (5,), "pos": (3, 5), "w": (2, 3)}, source)
    assert state["pos"].data_ptr() == source["pos"].data_ptr(), "a squeeze needs no copy"


@pytest.mark.parametrize(
    ("rule", "ours", "theirs", "message"),
    [
        (
            "t <> t as (H d) i -> i (H d)",
            (4, 4),
            (4, 4),
            "the size of axis `H` does not follow from the shapes",
        ),
        (
            "t <> t as (X d) i -> i (X d)",
            (2, 4),
            (4, 2),
            "axis `(X d)`: 4 is not a multiple of 3; our tensor is [2, 4]",
        ),
        ("t <> t as i o -> o i", (4,), (4, 4), "the layout has 2 our axes, the tensor [4] has 1"),
        ("t <> t as (i i2) -> i i2", (2, 3), (7,), "`t` is [7] in the file, the spec toy needs [6]"),
        ("t <> t as 1 i -> i", (4,), (2, 4), "`t` is [2, 4] in the file, the spec toy needs [1, 4]"),
        ("t <> t as (2 i) -> i 2", (4, 3), (12,), "axis `2` is 2, but our tensor is [4, 3]"),
    ],
)
def test_sizes_that_do_not_fit(
    tmp_path: Path, rule: str, ours: tuple[int, ...], theirs: tuple[int, ...], message: str
) -> None:
    loads = maps.write(tmp_path, f'let: {{X: 3}}\nrules: ["{rule}"]\n')
    with pytest.raises(CompileError) as caught:
        plan(loads, maps.ours({"t": ours}), maps.theirs({"t": theirs}))
    text = maps.report(caught.value, tmp_path)
    assert message in text and "toy.hf.yaml:5:9" in text and text.endswith("1 error"), text
