"""Names that meet names of the emitted text: nothing is hidden,
and the module computes what the spec says.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import compiler

SCALED = """\
spec: demo
inputs: {x: "float[B, 8]"}
nodes:
  p: {use: scaled, in: x, with: {WORD: 3}}
  q: {use: scaled, in: p, with: {WORD: 5}}
outputs: {y: q}
---
block: scaled
params: {WORD: int}
inputs: {x: "float[B, D]"}
nodes:
  NODE: {op: linear, in: x, out: =WORD}
  o: {op: linear, out: =D}
  s: {op: map, in: {v: o}, expr: =v * WORD}
outputs: {y: s}
"""


def built(folder: Path, text: str) -> nn.Module:
    path = folder / "demo.yaml"
    path.write_text(text)
    return compiler.build(path)


@pytest.mark.parametrize(
    ("word", "node"), [("h", "h"), ("type", "up"), ("train", "up"), ("half", "up"), ("new_cache", "up")]
)
def test_an_argument_hides_no_member(tmp_path: Path, word: str, node: str) -> None:
    module = built(tmp_path, SCALED.replace("WORD", word).replace("NODE", node))
    weights = module.state_dict()
    x = torch.randn(4, 8)
    expected = x
    for block, scale in (("p", 3), ("q", 5)):
        inner = expected @ weights[f"{block}.{node}.weight"].T + weights[f"{block}.{node}.bias"]
        expected = scale * (inner @ weights[f"{block}.o.weight"].T + weights[f"{block}.o.bias"])
    torch.testing.assert_close(module.train().eval()(x), expected)
    assert module.double().half().float().state_dict().keys() == weights.keys()


@pytest.mark.parametrize(
    "name", ["f", "F", "nn", "named_tuple", "lora_linear", "grouped_linear", "module", "type"]
)
def test_a_class_hides_no_name(tmp_path: Path, name: str) -> None:
    text = f'spec: {name}\ninputs: {{x: "float[B, 8]"}}\n'
    module = built(tmp_path, text + "nodes: {a: {op: linear, in: x, out: 5}}\noutputs: {y: a, count: x}\n")
    out = module(torch.zeros(2, 8))
    assert out.y.shape == (2, 5) and out.count.shape == (2, 8)


def test_a_block_named_like_the_output(tmp_path: Path) -> None:
    module = built(
        tmp_path,
        'spec: demo\ninputs: {x: "float[B, 8]"}\n'
        "nodes: {a: {use: demo_output, in: x}}\noutputs: {y: a, z: x}\n"
        '---\nblock: demo_output\ninputs: {x: "float[B, D]"}\nnodes: {a: {op: linear, in: x, out: 5}}\n'
        "outputs: {y: a}\n",
    )
    assert module(torch.zeros(2, 8)).y.shape == (2, 5)
