"""Fused linear maps: the same function as the plain text, for every spec; and who is left apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import compiler
from compiler import CompileError
from compiler.backend.build import program_of
from runtime.joined import spec_state
from tests.emission.models import CASES, Case, built, name, tensors

#: Specs in which nothing is joined: no two maps read one value, or they are called twice, or their initial
#: values depend on their size.
WITHOUT = {
    *("starter_patchify", "convnext"),
    *("deberta_v3", "deberta_v3_classifier"),
    *("simple_vit", "vit_mae", "vit_mae_encoder", "simple_mae", "transformer", "translation"),
}


def _fused(case: Case, plain: nn.Module) -> nn.Module:
    """The fused module with the tensors of a plain one."""
    model = compiler.build(case.source, set=case.set, optimize=("fuse",), dtype=torch.float64).eval()
    state = plain.state_dict()
    for join in program_of(model).joins:
        state[join.name] = torch.cat([state.pop(part) for part in join.parts])
    model.load_state_dict(state)
    return model


@torch.no_grad()
@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_fused_module_is_the_plain_function(case: Case) -> None:
    plain = built(case, dtype=torch.float64)
    fused = _fused(case, plain)
    assert bool(program_of(fused).joins) == (case.name not in WITHOUT)
    for method in ("forward", *case.methods):
        for masked in (False, True):
            inputs = case.inputs(3, 7, masked=masked, method=method)
            inputs = {n: t.double() if t.is_floating_point() else t for n, t in inputs.items()}
            expected, found = (tensors(getattr(m, method)(**inputs)) for m in (plain, fused))
            assert found.keys() == expected.keys()
            for key, tensor in expected.items():
                assert torch.equal(found[key].isnan(), tensor.isnan())
                assert (found[key] - tensor).nan_to_num().abs().max() <= 1e-10, key
    state = plain.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in spec_state(fused).items())


def test_one_text_is_emitted_and_built() -> None:
    text = compiler.emit("gpt2", set={"depth": 2}, optimize=("fuse",))
    model = compiler.build("gpt2", set={"depth": 2}, optimize=["fuse"], device="meta")
    module: Any = __import__("sys").modules[type(model).__module__]
    assert module.text == text and "self.qkv = nn.Linear(768, 2304)" in text
    assert text != compiler.emit("gpt2", set={"depth": 2})


def test_an_unknown_pass_is_an_error() -> None:
    with pytest.raises(CompileError, match="did you mean `fuse`"):
        compiler.compile("gpt2", optimize=("fused",))


def _own(tmp_path: Any, nodes: str, more: str = "") -> list[str]:
    """The joined tensors of a spec of one's own."""
    path = tmp_path / "own.yaml"
    path.write_text(
        f"spec: own\ninputs: {{x: 'float[B, 6]'}}\nnodes:\n{nodes}outputs: {{y: c}}\n{more}", encoding="utf-8"
    )
    return [join.name for join in compiler.compile(path, optimize=("fuse",)).joins]


def test_maps_of_one_value_alone_are_joined(tmp_path: Any) -> None:
    two = "  a: {op: linear, in: x, out: 4}\n  b: {op: linear, in: x, out: 4}\n  c: {op: add, in: [a, b]}\n"
    assert _own(tmp_path, two) == ["ab.weight", "ab.bias"]
    assert _own(tmp_path, two.replace("in: x, out: 4}\n  c", "in: x, out: 4, bias: false}\n  c")) == []
    assert (
        _own(
            tmp_path,
            two.replace(
                "b: {op: linear, in: x", "d: {op: activation, in: x, fn: relu}\n  b: {op: linear, in: d"
            ),
        )
        == []
    )


def test_initial_values_stay_those_of_the_spec(tmp_path: Any) -> None:
    two = "  a: {op: linear, in: x, out: 4}\n  b: {op: linear, in: x, out: 4}\n  c: {op: add, in: [a, b]}\n"
    rule = "init:\n  ops: {linear.weight: {normal: {std: 0.5}}}\n"
    assert _own(tmp_path, two, rule) == ["ab.weight", "ab.bias"]
    assert _own(tmp_path, two, rule + "  paths: {a.weight: {normal: {std: 2.0}}}\n") == []
    assert _own(tmp_path, two, rule.replace("{normal: {std: 0.5}}", "xavier_uniform")) == []
