"""`map`: random expression trees against the interpreter, and the facts that are easy to get wrong."""

from __future__ import annotations

import math
import re

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.backend.build import build
from tests.property.expressions import DTYPES, condition, number, rounded
from tests.property.one_node import Case, compiled, outputs, run

FILL = {
    "int": lambda shape, g: torch.randint(-4, 5, shape, generator=g),
    "float": lambda shape, g: torch.randint(-8, 9, shape, generator=g).to(torch.float64) / 2,
    "bool": lambda shape, g: torch.randint(2, shape, generator=g) > 0,
}


FACTS = [  # expression, inputs, kind, and the value at n = 3, x = 2.5, t = true
    ("n / 2", "int", "float32", 1.5),
    ("n / n", "int", "float32", 1.0),
    ("sqrt(n + 1)", "int", "float32", 2.0),
    ("n * 0.5", "int", "float32", 1.5),
    ("min(n, 0.5)", "int", "float32", 0.5),
    ("n ** 2", "int", "int", 9),
    ("n ** -1", "int", "float32", 1 / 3),
    ("2 ** n", "int", "float32", 8.0),
    ("n // 2 + n % 2", "int", "int", 2),
    ("n * (4 / 2)", "int", "int", 6),
    ("n * (1 / 3 + 2 / 3)", "int", "int", 3),
    ("x * (1 / 3) * 3", "float", "float", 2.5),
    ("1.5 if t else 0.5", "bool", "float32", 1.5),
    ("1 if t else 0", "bool", "int", 1),
    ("0.5 if t else 1", "bool", "float32", 0.5),
    ("int(t)", "bool", "int", 1),
]


@pytest.mark.parametrize("default", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("expr", "dtype", "kind", "value"), FACTS, ids=[f[0] for f in FACTS])
def test_facts(expr: str, dtype: str, kind: str, value: float, default: torch.dtype) -> None:
    """dtypes do not follow torch's default; exact rationals fold before they are rounded."""
    name = {"int": "n", "float": "x", "bool": "t"}[dtype]
    program = compiled(Case(f'op: map, in: {{{name}: {name}}}, expr: "={expr}"', {name: f"{dtype}[1]"}))
    given = {"n": torch.tensor([3]), "x": torch.tensor([2.5], dtype=torch.float64), "t": torch.tensor([True])}
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = outputs(program, build(program, dtype=torch.float64), **{name: given[name]})["y"]
    finally:
        torch.set_default_dtype(before)
    assert program.typed.root.node("y").outputs["y"].dtype == kind
    torch.testing.assert_close(found, torch.tensor([value], dtype=found.dtype))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_sizes_are_numbers(b: int, t: int, p: int) -> None:
    """Free sizes and params in an expression, in every place where a missing parenthesis would show."""
    expr = "q - T + 2 * T * q // (2 * T) + q % (T + p) - (T - p) * q + min(q, 3, T)"
    q = torch.arange(b * t).reshape(b, t)
    found = run(Case(f'op: map, in: {{q: q}}, expr: "={expr}"', {"q": "int[B, T]"}, params=f"p: {p}"), q=q)[
        "y"
    ]
    expected = [
        v - t + 2 * t * v // (2 * t) + v % (t + p) - (t - p) * v + min(v, 3, t) for v in q.flatten().tolist()
    ]
    assert found.flatten().tolist() == expected


@given(st.data())
def test_without_a_pattern_axes_align_from_the_right(data: st.DataObject) -> None:
    sizes = [data.draw(st.integers(1, 4)) for _ in range(3)]
    kinds, tensors = {}, {}
    for name in ("x", "z"):
        shape = [data.draw(st.sampled_from([s, 1])) for s in sizes[data.draw(st.integers(0, 2)) :]]
        kinds[name] = f"float[{', '.join(map(str, shape))}]"
        tensors[name] = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    found = run(Case('op: map, in: {x: x, z: z}, expr: "=x - 3 * z"', kinds), **tensors)["y"]
    assert torch.equal(found, tensors["x"] - 3 * tensors["z"])


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from(["1 B T", "B 1 T", "B T 1", "1 B 1 T 1"]))
def test_unit_axes_of_a_pattern(b: int, t: int, out: str) -> None:
    x, z = torch.arange(b, dtype=torch.float64).reshape(b, 1), torch.arange(t, dtype=torch.float64)
    case = Case(
        f'op: map, in: {{x: x, z: z}}, pattern: "B 1, T -> {out}", expr: "=x - 3 * z"',
        {"x": "float[B, 1]", "z": "float[T]"},
    )
    shape = [{"B": b, "T": t, "1": 1}[a] for a in out.split()]
    assert torch.equal(run(case, x=x, z=z)["y"], (x - 3 * z).reshape(shape))


def names_in(text: str) -> list[str]:
    words = re.findall(r"[a-z]+", text)
    return [n for n in DTYPES if n in words]


@settings(max_examples=200)
@given(st.data())
def test_map(data: st.DataObject) -> None:
    tree = data.draw(number(3, False) | condition(3))
    read = names_in(tree.text)
    assume(read and len(tree.text) < 380)
    sizes = {n: data.draw(st.integers(1, 3)) for n in "ABC"}
    free = data.draw(st.sets(st.sampled_from("ABC")))
    sides = {n: [a for a in "ABC" if data.draw(st.booleans())] for n in read}
    used = [a for a in "ABC" if any(a in s for s in sides.values())]
    pattern = f"{', '.join(' '.join(sides[n]) for n in read)} -> {' '.join(used)}"
    inputs = {
        n: f"{DTYPES[n]}[{', '.join(a if a in free else str(sizes[a]) for a in sides[n])}]" for n in read
    }
    wires = ", ".join(f"{n}: {n}" for n in read)
    program = compiled(Case(f'op: map, in: {{{wires}}}, pattern: "{pattern}", expr: "={tree.text}"', inputs))
    g = torch.Generator().manual_seed(0)
    tensors = {n: FILL[DTYPES[n]]([sizes[a] for a in sides[n]], g) for n in read}
    found = outputs(program, build(program, dtype=torch.float64), **tensors)["y"]
    placed = {n: v[tuple(slice(None) if a in sides[n] else None for a in used)] for n, v in tensors.items()}
    shape = [sizes[a] for a in used]
    whole = {n: v.expand(shape) for n, v in placed.items()}
    flat = {n: v.flatten().tolist() for n, v in whole.items()}
    expected = [tree.value({n: flat[n][k] for n in read}) for k in range(found.numel())]
    assert program.typed.root.node("y").outputs["y"].dtype == tree.kind
    torch.testing.assert_close(
        found.flatten(), torch.tensor([rounded(tree.kind, v) for v in expected], dtype=found.dtype)
    )
