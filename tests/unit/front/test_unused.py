"""Shipped definitions declare nothing that they do not use; what counts as a use."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.diagnostics.diagnostic import CompileError, Diagnostics
from compiler.ops.table import OPS
from compiler.passes.library import Library
from compiler.passes.targets import Targets
from compiler.passes.unused import check_unused
from compiler.pipeline import graph
from compiler.source.paths import packaged
from compiler.source.text import SourceFile
from compiler.syntax.parse import parse

BLOCKS = sorted(packaged("specs").glob("blocks/*.yaml"))


@pytest.mark.parametrize("path", BLOCKS, ids=lambda p: p.stem)
def test_shipped_blocks(path: Path) -> None:
    diagnostics = Diagnostics()
    targets = Targets(Library(), OPS, diagnostics, {})
    for name, block in parse(SourceFile.read(path)).blocks.items():
        check_unused(block, targets.flat_block(block, name), OPS, diagnostics)
    diagnostics.check()


def unused(folder: Path, text: str) -> list[str]:
    path = folder / "demo.yaml"
    path.write_text(text)
    try:
        graph(path)
    except CompileError as error:
        assert {d.code for d in error.diagnostics} == {"unused-input"}
        return [d.message.split("`")[1] for d in error.diagnostics]
    return []


A = "nodes:\n  a: {op: linear, in: x, out: 8}\n"
Y = "outputs: {y: a}\n"
HEAD = 'spec: demo\ninputs: {x: "float[B, T, 8]"}\n'


@pytest.mark.parametrize(
    "text",
    [
        "params: {p: 8}\nnodes: {a: {op: linear, in: x, out: =p}}\noutputs: {y: a}\n",
        "params: {p: 2}\nnodes: {a: {op: rearrange, in: x, pattern: B T (p d) -> B T p d}}\n" + Y,
        "params: {p: 9}\ndims: {T: {max: =p}}\n" + A + "outputs: {y: a}\n",
        "params: {p: 9}\n" + A + "outputs: {y: a}\nio: {eos: =p}\n",
        "params: {p: 9, q: =p}\nnodes: {a: {op: linear, in: x, out: =q}}\noutputs: {y: a}\n",
        "params: {p: true}\nnodes: {a: {op: linear, in: x, out: 8, when: =p}}\noutputs: {y: a}\n",
        "params: {p: 9}\nvariants: {v: {q: =p}}\nlet: {}\n" + A + "outputs: {y: a}\n",
        A + "  b: {op: linear, out: 8}\noutputs: {y: b}\n",
        A + "  b: {op: linear, in: x, out: 8}\noutputs: {y: b}\nmethods: {m: {outputs: {a: a}}}\n",
        A + "  b: {same_as: a, in: x}\noutputs: {y: b}\n",
        "let: {m: {use: mlp, in: {x: a}, with: {hidden: 2}}}\n"
        + A
        + "  b: {use: =m}\n"
        + Y.replace("a", "b"),
        A + "  b: {op: map, in: {v: a}, expr: =v + 1}\noutputs: {y: b}\n",
        "nodes:\n  p: {op: positions, in: x}\n  a: {op: embedding, in: p.q, num: 9, dim: 8}\n" + Y,
    ],
)
def test_uses(tmp_path: Path, text: str) -> None:
    assert unused(tmp_path, HEAD + text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params: {p: 8}\n" + A + "outputs: {y: a}\n", ["p"]),
        ("let: {p: 8}\n" + A + "outputs: {y: a}\n", ["p"]),
        (
            "summary: The p.\nparams: {p: 8}\n" + A + "outputs: {y: a}\n",
            ["p"],
        ),
        (
            A + "  b: {op: linear, in: x, out: 8}\noutputs: {y: b}\n",
            ["a"],
        ),
        (
            A + "  b: {op: parameter, shape: [8]}\noutputs: {y: b}\n",
            ["a"],
        ),
        (A + "  b: {op: linear, out: 8}\noutputs: {y: a}\n", ["b"]),
        ("nodes: {p: {op: parameter, shape: [8]}}\noutputs: {y: p}\n", ["x"]),
        ("params: {a: 3}\n" + A + "outputs: {y: a}\n", ["a"]),
    ],
)
def test_what_is_unused(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert unused(tmp_path, HEAD + text) == expected


def test_a_parent_is_judged_by_itself(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        'spec: base\nparams: {p: 8}\ninputs: {x: "float[B, T, 8]"}\n'
        "nodes:\n  a: {op: linear, in: x, out: =p}\n  b: {op: linear, out: 8}\noutputs: {y: b}\n"
    )
    child = "spec: demo\nextends: base\nset: {a.out: 3}\noutputs: {y: a}\n"
    assert unused(tmp_path, child) == [], "what the child no longer uses is the parent's"
    assert unused(tmp_path, child + "params: {mine: 3}\n") == ["mine"]
