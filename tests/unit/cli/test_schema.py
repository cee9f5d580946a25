"""The JSON Schemas: every shipped file validates, what is misspelt or ill-typed does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from compiler.cli.main import main
from compiler.ops.table import OPS
from compiler.passes.overrides import plain
from compiler.schema.spec import spec_schema
from compiler.schema.weightmap import weightmap_schema
from compiler.source.paths import packaged
from compiler.source.text import SourceFile
from compiler.syntax.yaml import parse_yaml

SPEC = Draft7Validator(spec_schema())
MAP = Draft7Validator(weightmap_schema())
SPEC_FILES = sorted(packaged("specs").rglob("*.yaml"))
MAP_FILES = sorted(packaged("weightmaps").rglob("*.yaml"))


def documents(text: str) -> list[Any]:
    return [plain(document) for document in parse_yaml(SourceFile("file", text))]


def faults(validator: Draft7Validator, text: str) -> list[str]:
    return [error.message for document in documents(text) for error in validator.iter_errors(document)]


@pytest.mark.parametrize("schema", [spec_schema(), weightmap_schema()], ids=["spec", "map"])
def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("arguments", [["schema"], ["schema", "--weightmap"]])
def test_the_command_prints_it(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == (weightmap_schema() if arguments[1:] else spec_schema())


@pytest.mark.parametrize("path", SPEC_FILES, ids=lambda p: p.stem)
def test_shipped_specs_and_blocks_validate(path: Path) -> None:
    assert faults(SPEC, path.read_text()) == []


@pytest.mark.parametrize("path", MAP_FILES, ids=lambda p: p.stem)
def test_shipped_maps_validate(path: Path) -> None:
    assert faults(MAP, path.read_text()) == []


@pytest.mark.parametrize("name", OPS)
def test_every_op_and_attribute_is_described(name: str) -> None:
    found = spec_schema()["definitions"][f"op.{name}"]
    assert found["description"] == OPS[name].summary
    assert {a.name for a in OPS[name].attrs} <= set(found["properties"])
    for attr in OPS[name].attrs:
        choices = found["properties"][attr.name]["anyOf"][0].get("enum")
        assert choices == (list(attr.choices) if attr.choices else None)


WHOLE = """\
spec: demo
params: {dim: 6, long: {type: int, min: 1}, norm: {op: layer_norm, eps: 1e-6}}
inputs: {x: "float[B, 6]", mask: {type: "bool[B]?"}}
nodes:
  a: {op: linear, in: x, out: =2 * dim, bias: false}
  b: {use: mlp, with: {hidden: 7, act: relu}}
  h: {repeat: 3, use: pre_norm, with: {norm: {op: layer_norm}}, where: [{at: =i == 1, set: {norm.eps: 1e-3}}]}
  c: {op: activation, fn: gelu, when: =dim > 3}
  d: {same_as: a}
outputs: {y: c}
init:
  ops: {linear.weight: {normal: {std: =1 / dim}}}
"""


def test_a_spec_that_uses_much_validates() -> None:
    assert faults(SPEC, WHOLE) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nodes:", "node:"),
        ("spec: demo\n", ""),
        ("spec: demo", "spec: 3"),
        ("op: linear", "op: lineer"),
        ("bias: false", "bais: false"),
        ("bias: false", 'bias: "no"'),
        ("out: =2 * dim", "out: 2 * dim"),
        ("out: =2 * dim", "out: 1.5"),
        ("out: =2 * dim, ", ""),
        ("fn: gelu", "fn: gleu"),
        ("use: mlp, with", "use: mlp, width"),
        ("use: mlp", "op: linear, out: 3, use: mlp"),
        ("same_as: a", "same_as: a, bias: true"),
        ("{op: layer_norm}", "{op: layer_norm, esp: 1}"),
        ("{op: layer_norm, eps: 1e-6}", "{op: layernorm}"),
        ("at: =i == 1, set", "at: =i == 1, sets"),
        ("where: [", "were: ["),
        ("{normal: {std: =1 / dim}}", "{normal: {sdt: 1}}"),
        ("{normal: {std: =1 / dim}}", "{gauss: {std: 1}}"),
        ('x: "float[B, 6]"', "x: float"),
        ('{type: "bool[B]?"}', '{type: "bool[B]?", defualt: x}'),
        ("min: 1", "minimum: 1"),
        ("ops: {", "op: {"),
        ("outputs: {y: c}", "outputs: [c]"),
    ],
)
def test_what_is_wrong_does_not(old: str, new: str) -> None:
    assert old in WHOLE
    assert faults(SPEC, WHOLE.replace(old, new)) != []


def test_a_block_is_a_document_of_its_own() -> None:
    block = """\
block: part
params: {n: int}
inputs: {x: "float[B, D]"}
nodes: {y: {op: linear, out: =n}}
outputs: {y: y}
"""
    assert faults(SPEC, block) == []
    assert faults(SPEC, block.replace("block: part", "block: part\ntask: none")) != [], (
        "a field of specs alone"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("weightmap: 1", "weightmap: 2"),
        ("default: true", "default: maybe"),
        ("rules:", "rule:"),
        ("repository:", "repo:"),
        ("under:", "below:"),
    ],
)
def test_what_is_wrong_in_a_map_does_not(old: str, new: str) -> None:
    text = (packaged("weightmaps") / "gpt2.hf.yaml").read_text()
    assert old in text
    assert faults(MAP, text.replace(old, new)) != []
