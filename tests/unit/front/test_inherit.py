"""`extends`: what is inherited, what is not, and the verbs in their fixed order."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler import pipeline
from compiler.diagnostics.diagnostic import CompileError
from compiler.ir.graph import Graph, OpNode

BASE = """\
spec: base
summary: The parent.
source: Somebody
task: tagging
params: {dim: 8, width: =2 * dim}
variants: {wide: {dim: 16}}
inputs: {x: "float[B, T, =dim]", mask: "bool[B, T]?"}
nodes:
  up: {op: linear, out: =width}
  act: {op: activation, fn: relu}
  down: {op: linear, out: =dim}
  pooled: {op: reduce, fn: mean, pattern: "B T D -> B D"}
  kept: {op: map, in: {p: down, m: mask}, pattern: "B T D, B T -> B T D", expr: =p if m else 0}
outputs: {y: pooled, kept: kept}
init: {ops: {linear.weight: zeros}}
"""


def graph(folder: Path, child: str) -> Graph:
    (folder / "base.yaml").write_text(BASE)
    (folder / "child.yaml").write_text(f"spec: child\nextends: base\n{child}")
    return pipeline.graph(folder / "child.yaml")


def wires(found: Graph) -> dict[str, str]:
    """Each node and what it reads, in order."""
    return {n.name: " ".join(map(str, n.refs())) for n in found.root.nodes}


def test_what_is_inherited(tmp_path: Path) -> None:
    found = graph(tmp_path, "params: {dim: 4}\n")
    assert (found.root.name, found.root.summary, found.root.source) == ("child", "", "")
    assert (found.task, found.parents) == ("tagging", ("base",))
    assert found.root.params["width"].value == 8, "the child's dim reaches the parent's expressions"
    assert [p.name for p in found.root.inputs] == ["x", "mask"]
    assert [r.pattern for r in found.init] == ["linear.weight"]
    with pytest.raises(CompileError, match="no variant"):
        pipeline.graph(f"{tmp_path}/child.yaml:wide")


def test_implicit_inputs_are_fixed_before_the_verbs(tmp_path: Path) -> None:
    found = graph(
        tmp_path, "insert: {after: act, nodes: {drop: {op: dropout, p: 0.5}}}\nset: {pooled.in: drop}\n"
    )
    assert wires(found)["up"] == "x", "the first node reads the first required input"
    assert list(wires(found)) == ["up", "act", "drop", "down", "pooled", "kept"]
    assert wires(found)["drop"] == "act.y", "an inserted node reads the one before it"
    assert wires(found)["down"] == "act.y", "and changes no wire that the child does not name"
    assert wires(found)["pooled"] == "drop.y"


def test_before(tmp_path: Path) -> None:
    found = graph(tmp_path, "insert: {before: up, nodes: {n: {op: layer_norm, in: x}}}\nset: {up.in: n}\n")
    assert list(wires(found))[:2] == ["n", "up"] and wires(found)["up"] == "n.y"


def test_add_and_replace(tmp_path: Path) -> None:
    found = graph(
        tmp_path,
        "replace: {act: {op: activation, fn: silu}}\n"
        "add: {head: {op: linear, in: pooled, out: 3}, tanh: {op: activation, fn: tanh}}\n"
        "outputs: {logits: tanh, kept: kept}\n",
    )
    assert list(wires(found)) == ["up", "act", "down", "pooled", "kept", "head", "tanh"]
    assert wires(found)["act"] == "up.y", "a replacement without `in` keeps the wire"
    assert wires(found)["tanh"] == "head.y"
    assert list(found.root.outputs) == ["logits", "kept"], "a child that lists outputs lists all of them"


def test_remove(tmp_path: Path) -> None:
    found = graph(tmp_path, "remove: [pooled]\noutputs: {kept: kept}\n")
    assert "pooled" not in wires(found)


def test_set_reaches_attributes_and_ports(tmp_path: Path) -> None:
    found = graph(
        tmp_path,
        "set: {act.fn: tanh, kept.in.p: act, down.bias: false, down.out: =width}\nparams: {dim: 4}\n",
    )
    nodes = {n.name: n for n in found.root.nodes}
    assert wires(found)["kept"] == "act.y mask"
    act, down = nodes["act"].action, nodes["down"].action
    assert isinstance(act, OpNode) and isinstance(down, OpNode)
    attrs = {**act.attrs, **down.attrs}
    assert (attrs["fn"].value, attrs["bias"].value, attrs["out"].value) == ("tanh", False, 8)


def test_the_order_of_inputs(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        graph(
            tmp_path,
            'inputs: {z: "float[B]"}\nadd: {q: {op: add, in: [z, z]}}\n'
            "outputs: {q: q, y: pooled, kept: kept}\n",
        )
    assert [d.code for d in caught.value.diagnostics] == ["input-order"]
    found = graph(
        tmp_path,
        'inputs: {z: "float[B]", x: "float[B, T, =dim]", mask: "bool[B, T]?"}\n'
        "add: {q: {op: add, in: [z, z]}}\noutputs: {q: q, y: pooled, kept: kept}\n",
    )
    assert [p.name for p in found.root.inputs] == ["z", "x", "mask"], (
        "a child that lists all inputs orders them"
    )


def test_a_chain_of_parents(tmp_path: Path) -> None:
    (tmp_path / "grandchild.yaml").write_text("spec: grandchild\nextends: child\nset: {act.fn: tanh}\n")
    graph(tmp_path, "params: {dim: 4}\n")
    found = pipeline.graph(tmp_path / "grandchild.yaml")
    assert found.parents == ("child", "base")
    assert found.root.params["dim"].value == 4


def test_a_block_is_looked_up_where_its_name_is_written(tmp_path: Path) -> None:
    """A block of the child's folder, given to a layer that a packaged file describes."""
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "my_norm.yaml").write_text(
        'block: my_norm\nsummary: Mine.\ninputs: {x: "float[B, ..., D]"}\n'
        "nodes: {inner: {op: layer_norm}}\noutputs: {y: inner}\n"
    )
    child = tmp_path / "child.yaml"
    child.write_text("spec: child\nextends: gpt2\nsummary: Mine.\nsource: me\nset: {h.norm: my_norm}\n")
    names = {p.name for p in pipeline.compile(child, set={"depth": 1}).table.parameters}
    assert {"h.0.ln_1.inner.weight", "h.0.ln_2.inner.bias"} <= names
