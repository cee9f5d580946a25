"""The folded tree, and numbers in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.ir.dims import dim, symbol
from compiler.pipeline import typed_graph
from compiler.report.cost import costs
from compiler.report.tree import HEAD, render, tree
from compiler.report.units import closed_form, exact, nbytes, short

KINDS = """\
spec: kinds
params: {width: 6}
dims: {T: {max: 9}}
inputs: {x: "float[B, T, 6]"}
nodes:
  a: {op: linear, in: x, out: =width}
  b: {same_as: a}
  once: {use: mlp, in: b, with: {hidden: 7}}
  again: {same_as: once}
  h:
    repeat: 4
    use: mlp
    in: again
    with: {hidden: 5, bias: false}
    reuse: =i // 2
outputs: {y: h}
"""


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    (tmp_path / "kinds.yaml").write_text(KINDS)
    return tmp_path / "kinds.yaml"


def test_equal_layers_are_one_line() -> None:
    lines = render(typed_graph("gpt2").root)
    assert lines[0].split() == list(HEAD)
    assert [line.split()[:3] for line in lines if line.startswith("h ")] == [["h", "x12", "pre_norm"]]
    assert len(lines) == len(render(typed_graph("gpt2", set={"depth": 3}).root))
    (head,) = [line for line in lines if line.startswith("lm_head")]
    assert "(weight is wte.weight)" in head and "float[B, T, 50257]" in head


def test_depth_stands_for_nesting() -> None:
    lines = render(typed_graph("gpt2").root)
    names = {line.split()[0]: len(line) - len(line.lstrip()) for line in lines}
    assert (names["h"], names["attn"], names["qh"]) == (0, 2, 4)


def test_second_calls_and_reused_modules_count_once(kinds: Path) -> None:
    graph = typed_graph(kinds)
    found = {row.name: row for row in tree(graph.root)}
    linear, mlp, layer = 6 * 6 + 6, 6 * 7 + 7 + 7 * 6 + 6, 6 * 5 + 5 * 6
    assert (found["a"].parameters, found["b"].parameters) == (linear, 0)
    assert (found["once"].parameters, found["again"].parameters) == (mlp, 0)
    assert found["b"].flops == found["a"].flops and found["again"].flops == found["once"].flops
    assert (found["h"].times, found["h"].note, found["h"].parameters) == (4, "2 modules", 2 * layer)
    assert found["again"].note == "called again" and found["again"].children == ()
    assert graph.root.parameter_count() == costs(graph).parameters == linear + mlp + 2 * layer


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (3132, "3.13k"),
        (999_600, "1M"),
        (85_054_464, "85.1M"),
        (14 * 10**9, "14G"),
    ],
)
def test_short(value: int, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (73_728, "72 KiB"), (497_759_232, "475 MiB")],
)
def test_nbytes(value: int, text: str) -> None:
    assert nbytes(value) == text


def test_closed_form() -> None:
    b, t, k = symbol("B"), symbol("T"), symbol("K")
    size = dim(37584) * b * t * k + dim(2) * b * t * t - dim(1500) * b + dim(7)
    assert closed_form(size) == "37,584 B K T + 2 B T^2 - 1,500 B + 7"
    assert closed_form(size, short) == "37.6k B K T + 2 B T^2 - 1.5k B + 7"
    assert closed_form(-b) == "- 1 B" and closed_form(dim(0)) == "0"
    assert exact(124439808) == "124,439,808"
