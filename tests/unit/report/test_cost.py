"""Costs against torch: what the report says of a spec is what its module holds, computes and keeps."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import compiler
from compiler.ir.dims import dim
from compiler.ir.typed import TypedGraph
from compiler.pipeline import typed_graph
from compiler.report.cost import costs, greatest_sizes, itemsize
from compiler.report.memory import peak
from compiler.report.tree import Row, tree

CLIP = {"v_dim": 48, "v_heads": 3, "v_depth": 2, "t_dim": 32, "t_heads": 2, "t_depth": 3, "embed": 24}
SPECS: dict[str, dict[str, int]] = {
    "gpt2": {"vocab": 53, "context": 64, "dim": 48, "depth": 2, "heads": 3},
    "llama": {"vocab": 53, "context": 64, "dim": 48, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 96},
    "bert_mlm": {"vocab": 53, "context": 64, "dim": 48, "depth": 2, "heads": 3},
    "t5": {"vocab": 53, "dim": 48, "depth": 2, "decoder_depth": 3, "heads": 3, "head_dim": 16, "hidden": 96},
    "clip_vitb32": {"vocab": 53, "image": 32, "patch": 8, **CLIP},
}
AT = {"B": 2, "C": 3, "S": 24, "T": 40, "K": 40}


def typed(spec: str) -> TypedGraph:
    return typed_graph(spec, set=SPECS[spec])


def arguments(graph: TypedGraph) -> dict[str, torch.Tensor]:
    """Every input that cannot be None, at the sizes AT."""
    torch.manual_seed(0)
    optional = {p.name for p in graph.root.block.inputs if p.maybe}
    found: dict[str, torch.Tensor] = {}
    for name, kind in graph.root.inputs.items():
        shape = [int(str(d.substitute({k: dim(v) for k, v in AT.items()}))) for d in kind.shape]
        if name not in optional:
            found[name] = torch.randint(0, 2, shape) if kind.dtype == "int" else torch.randn(shape)
    return found


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_parameters_and_bytes_are_the_modules(spec: str, dtype: torch.dtype) -> None:
    model = compiler.build(spec, set=SPECS[spec], dtype=dtype)
    found = costs(typed(spec))
    assert found.parameters == sum(p.numel() for p in model.parameters())
    held = sum(p.numel() * p.element_size() for p in model.parameters())
    assert found.weights[str(dtype).removeprefix("torch.")] == held


def rows(found: Sequence[Row], times: int = 1) -> Iterator[tuple[Row, int]]:
    """Every op with how often it runs."""
    for row in found:
        runs = times * row.times
        if row.children:
            yield from rows(row.children, runs)
        else:
            yield row, runs


@pytest.mark.parametrize("spec", SPECS)
def test_products_of_matrices_cost_what_torch_counts(spec: str) -> None:
    graph = typed(spec)
    model = compiler.build(spec, set=SPECS[spec]).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(**arguments(graph))
    counted = counter.get_flop_counts()["Global"]
    attention = {op: n for op, n in counted.items() if "attention" in str(op)}
    at = {name: dim(size) for name, size in AT.items()}
    products = ("linear", "conv", "einsum")
    ours = sum(
        (row.flops.substitute(at).constant or 0) * runs
        for row, runs in rows(tree(graph.root))
        if row.kind in products
    )
    assert ours == sum(counted.values()) - sum(attention.values())


@pytest.mark.parametrize("spec", SPECS)
def test_the_total_is_the_sum_of_the_rows(spec: str) -> None:
    graph = typed(spec)
    total = dim(0)
    parameters = 0
    for row, runs in rows(tree(graph.root)):
        total = total + row.flops * dim(runs)
        parameters += row.parameters * runs
    assert costs(graph).flops == total
    assert costs(graph).parameters == parameters


@pytest.mark.parametrize("spec", ["gpt2", "llama"])
def test_the_cache_is_the_modules(spec: str) -> None:
    model: Any = compiler.build(spec, set=SPECS[spec])
    cache = model.new_cache(1, 17)
    held = sum(t.numel() for t in tree_leaves(cache) if isinstance(t, torch.Tensor))
    assert {"K": held // 17} == costs(typed(spec)).cache


def test_caches_are_told_apart_by_their_lengths() -> None:
    """Of T5's decoder: its own keys and values, and those of the encoder's memory."""
    layers, width = 8, 6 * 64
    assert costs(typed_graph("t5")).cache == {"K": 2 * layers * width, "S": 2 * layers * width}


@pytest.mark.parametrize("spec", ["bert_mlm", "clip_vitb32"])
def test_no_cache_costs_nothing(spec: str) -> None:
    assert costs(typed(spec)).cache == {}


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most bytes of tensors, beside those known before, that live at once."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known, self.sizes, self.most = known, dict[int, int](), 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                key = storage.data_ptr()
                if key not in self.known and key not in self.sizes:
                    self.sizes[key] = storage.nbytes()
                    weakref.finalize(storage, self.sizes.pop, key, None)
        self.most = max(self.most, sum(self.sizes.values()))
        return out


@pytest.mark.parametrize("spec", SPECS)
def test_activations_take_at_least_what_is_said(spec: str) -> None:
    graph = typed(spec)
    model = compiler.build(spec, set=SPECS[spec]).eval()
    given = arguments(graph)
    known = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *given.values())}
    with torch.no_grad(), Live(known) as live:
        model(**given)
    said = peak(graph.root, AT, partial(itemsize, build="float32"))
    assert 0.6 * live.most < said <= live.most


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ("gpt2", {"B": 1, "T": 1024, "K": 1024}),
        ("bert", {"B": 1, "T": 512}),
        ("clip_vitb32", {"B": 1, "C": 1, "T": 77}),
    ],
)
def test_figures_are_for_one_sequence_at_its_greatest_length(spec: str, sizes: dict[str, int]) -> None:
    graph = typed_graph(spec)
    assert greatest_sizes(graph) == sizes
    assert costs(graph).flops_at == int(eval_at(graph, sizes))


def eval_at(graph: TypedGraph, sizes: dict[str, int]) -> int:
    """The closed form at sizes, term by term."""
    total = 0
    for monomial, coefficient in graph.root.flops.terms:
        for name in monomial:
            coefficient *= sizes[name]
        total += coefficient
    return total


def test_lengths_without_a_bound_give_no_figures() -> None:
    graph = typed("gpt2")
    unbounded = TypedGraph(
        type(graph.graph)(**{**vars(graph.graph), "max_dims": {}}), graph.root, graph.cached
    )
    found = costs(unbounded)
    assert found.sizes == {} and found.activations == {} and found.flops_at is None
    assert found.flops == costs(graph).flops
