"""Plans run on tensors: no copy where none is needed, nothing lost on the way back, ties checked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compiler.diagnostics.diagnostic import CompileError
from compiler.ir.parameters import Parameter, ParameterTable
from compiler.weights.load_plan import LoadPlan
from compiler.weights.plan import plan, plan_export
from runtime.load_plan import export_plan, load_plan
from tests.unit.weights import maps, tables

Tensors = dict[str, torch.Tensor]


def loaded(
    folder: Path, body: str, table: ParameterTable, source: Tensors, dtype: str | None = None
) -> tuple[LoadPlan, torch.nn.Module]:
    made = plan(maps.write(folder, body), table, tables.header(source), dtype)
    module = tables.module(table)
    load_plan(made, source.__getitem__, module)
    return made, module


def test_whole_tensors_and_slices_are_not_copied(tmp_path: Path) -> None:
    body = (
        "rules: ['a <> a', 'qkv <> [q|k] as [n|m] d -> * d', 's <> s as 1 d -> d', 'w <> w as i o -> o i']\n"
    )
    source = {"a": torch.randn(3), "qkv": torch.randn(7, 2), "s": torch.randn(1, 4), "w": torch.randn(2, 3)}
    table = maps.ours({"a": (3,), "q": (3, 2), "k": (4, 2), "s": (4,), "w": (3, 2)})
    made, module = loaded(tmp_path, body, table, source)
    storages = {name: tensor.untyped_storage().data_ptr() for name, tensor in source.items()}
    held = {name: p.untyped_storage().data_ptr() for name, p in module.named_parameters()}
    assert held["a"] == storages["a"] and held["s"] == storages["s"]
    assert held["q"] == held["k"] == storages["qkv"]
    assert held["w"] != storages["w"] and module.get_parameter("w").is_contiguous()
    assert made.aliased() == ["a", "q", "k", "s"]


def test_requires_grad_and_scalars(tmp_path: Path) -> None:
    table = maps.ours({"a": (), "b": (2,)})
    made = plan(maps.write(tmp_path, "rules: ['(a|b) <> (a|b)']\n"), table, maps.theirs({"a": (), "b": (2,)}))
    module = tables.module(table)
    module.get_parameter("b").requires_grad_(False)
    load_plan(made, {"a": torch.tensor(2.5), "b": torch.ones(2)}.__getitem__, module)
    assert module.get_parameter("a").requires_grad and not module.get_parameter("b").requires_grad
    assert module.get_parameter("a").shape == () and module.get_parameter("a").item() == 2.5


def test_buffers_of_other_types(tmp_path: Path) -> None:
    parameters = (Parameter("n", (2,), "int64", tables.LINE), Parameter("m", (3,), "bool", tables.LINE))
    table = ParameterTable("toy", (), parameters, {}, {})
    source = {"n": torch.tensor([1, 2]), "m": torch.tensor([True, False, True])}
    made = plan(maps.write(tmp_path, "rules: ['(n|m) <> (n|m)']\n"), table, tables.header(source), "bfloat16")
    module = torch.nn.Module()
    module.register_buffer("n", torch.empty(2, dtype=torch.int64, device="meta"))
    module.register_buffer("m", torch.empty(3, dtype=torch.bool, device="meta"))
    load_plan(made, source.__getitem__, module)
    assert all(torch.equal(module.state_dict()[key], source[key]) for key in source)
    with pytest.raises(CompileError, match=r"`n` is int32 in the file, the spec toy needs int64"):
        plan(
            maps.write(tmp_path, "rules: ['n <> n', 'm? <> m']\n"),
            table,
            maps.theirs({"n": (2,), "m": (3,)}, "bool", n="int32"),
        )


def test_sources_that_are_not_contiguous(tmp_path: Path) -> None:
    wide = torch.randn(4, 6)
    source = {"a": wide[:, ::2], "b": wide.T}
    _, module = loaded(
        tmp_path, "rules: ['a <> a', 'b <> b as i o -> o i']\n", maps.ours({"a": (4, 3), "b": (4, 6)}), source
    )
    assert torch.equal(module.get_parameter("a"), wide[:, ::2]) and torch.equal(
        module.get_parameter("b"), wide
    )
    assert module.get_parameter("a").is_contiguous()


def test_parameters_that_are_not_contiguous(tmp_path: Path) -> None:
    body = "rules: ['a <> a', 'b <> b as i o -> o i']\n"
    table = maps.ours({"a": (4, 3), "b": (4, 6)})
    module = tables.module(table)
    wide = torch.randn(6, 4)
    module.register_parameter("a", torch.nn.Parameter(torch.randn(3, 4).T))
    module.register_parameter("b", torch.nn.Parameter(wide.T))
    back = dict(export_plan(plan_export(maps.write(tmp_path, body), table), module))
    assert torch.equal(back["a"], module.get_parameter("a")) and back["a"].is_contiguous()
    assert torch.equal(back["b"], wide) and back["b"].is_contiguous()


def test_dtype_conversion(tmp_path: Path) -> None:
    source = {"a": torch.randn(3, dtype=torch.float64), "w": torch.randn(2, 3, dtype=torch.float16)}
    body = "rules: ['a <> a', 'w <> w as i o -> o i']\n"
    table = maps.ours({"a": (3,), "w": (3, 2)})
    made, module = loaded(tmp_path, body, table, source, "float32")
    assert {(c.ours, c.source, c.target) for c in made.casts} == {
        ("a", "float64", "float32"),
        ("w", "float16", "float32"),
    }
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert torch.equal(module.get_parameter("w"), source["w"].float().T)
    _, kept = loaded(tmp_path, body, table, source)
    assert kept.get_parameter("w").dtype == torch.float16


def test_members_of_different_types_are_refused(tmp_path: Path) -> None:
    source = {"a": torch.ones(2), "b": torch.ones(2, dtype=torch.float16)}
    body = "rules: ['[a|b] <> c as * -> [n|n]']\n"
    with pytest.raises(CompileError, match=r"`b` is float16 in the file, the spec toy needs float32"):
        loaded(tmp_path, body, maps.ours({"c": (4,)}), source)
    _, module = loaded(tmp_path, body, maps.ours({"c": (4,)}), source, "float32")
    assert torch.equal(module.get_parameter("c"), torch.ones(4))


TIED = "rules: ['wte <> wte as i o -> o i', 'head? <> head', 'b <> b']\ntie: {copy: b}\n"


def test_second_copies_must_be_equal(tmp_path: Path) -> None:
    table = maps.ours({"wte": (3, 2), "b": (3,)}, {"head": "wte"})
    wte = torch.randn(2, 3)
    source = {"wte": wte, "head": wte.T.contiguous(), "b": torch.randn(3)}
    source["copy"] = source["b"].clone()
    made, module = loaded(tmp_path, TIED, table, source)
    back = dict(export_plan(made, module))
    assert list(back) == list(source) and all(torch.equal(back[key], source[key]) for key in source)
    for key in ("head", "copy"):
        broken = source | {key: source[key].clone()}
        broken[key].view(-1)[-1] += 1
        untouched = tables.module(table)
        with pytest.raises(CompileError, match=f"`{key}` and `(wte|b)` differ"):
            load_plan(made, broken.__getitem__, untouched)
        assert all(p.is_meta for p in untouched.parameters())


def test_a_copy_stands_in_for_an_absent_first(tmp_path: Path) -> None:
    table = maps.ours({"wte": (3, 2), "b": (3,)}, {"head": "wte"})
    source = {"wte": torch.randn(2, 3), "copy": torch.randn(3)}
    made, module = loaded(tmp_path, TIED, table, source)
    assert torch.equal(module.get_parameter("b"), source["copy"])
    assert list(dict(export_plan(made, module))) == ["wte", "copy"]


def test_each_source_is_fetched_once_per_group(tmp_path: Path) -> None:
    """A GGUF tensor is dequantised at each fetch."""
    source = {"qkv": torch.randn(2, 9), "a": torch.randn(2)}
    fetched: list[str] = []

    def tensor_of(key: str) -> torch.Tensor:
        fetched.append(key)
        return source[key]

    body = "rules: ['qkv <> [q|k|v] as d [n|n|n] -> * d', 'a <> a']\n"
    table = maps.ours({"q": (3, 2), "k": (3, 2), "v": (3, 2), "a": (2,)})
    made = plan(maps.write(tmp_path, body), table, tables.header(source))
    load_plan(made, tensor_of, tables.module(table))
    assert sorted(fetched) == ["a", "qkv"]


def test_older_spellings_come_back_as_they_were(tmp_path: Path) -> None:
    body = "rules: ['ln.(weight|bias) <> ln.(w|b)']\nalias: {'ln.(gamma|beta)': 'ln.(weight|bias)'}\n"
    source = {"ln.gamma": torch.randn(2), "ln.beta": torch.randn(2)}
    table = maps.ours({"ln.w": (2,), "ln.b": (2,)})
    made, module = loaded(tmp_path, body, table, source)
    assert torch.equal(module.get_parameter("ln.w"), source["ln.gamma"])
    assert list(dict(export_plan(made, module))) == ["ln.gamma", "ln.beta"]
    fresh = export_plan(plan_export(maps.write(tmp_path, body), table), module)
    assert [key for key, _ in fresh] == ["ln.weight", "ln.bias"]


def test_members_that_differ_in_the_module_are_not_joined(tmp_path: Path) -> None:
    table = maps.ours({"a": (2,), "b": (2,)})
    made = plan_export(maps.write(tmp_path, "rules: ['c <> [a|b] as [n|n] -> *']\n"), table)
    module = torch.nn.Module()
    module.register_parameter("a", torch.nn.Parameter(torch.ones(2)))
    module.register_parameter("b", torch.nn.Parameter(torch.ones(2, dtype=torch.float16)))
    with pytest.raises(CompileError, match=r"`c` would be made of torch.float16 and torch.float32"):
        export_plan(made, module)
