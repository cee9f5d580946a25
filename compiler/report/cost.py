"""What a spec costs: parameters, bytes, floating-point operations, cache; exact where it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from compiler.ir.dims import Dim, dim, product
from compiler.ir.graph import OpNode
from compiler.ir.typed import TypedBlock, TypedGraph
from compiler.passes.infer_shapes import KEY_LENGTH
from compiler.passes.parameters import parameter_table
from compiler.report.memory import peak
from compiler.weights.dtypes import ITEMSIZE

#: The dtypes that a module is commonly built in.
BUILDS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Costs:
    """parameters: ties counted once. flops: of one forward pass, a multiply-add being two.

    sizes: what the symbols are set to for figures: one sequence or image at its greatest length;
    empty where the spec does not bound the lengths. cache: elements kept per token
    of one sequence, by the length that counts the tokens.
    weights, activations: bytes by the dtype of the build.
    """

    parameters: int
    ties: Mapping[str, str]
    flops: Dim
    sizes: Mapping[str, int]
    cache: Mapping[str, int]
    weights: Mapping[str, int]
    activations: Mapping[str, int]

    @property
    def flops_at(self) -> int | None:
        """The operations at `sizes`."""
        return self.flops.substitute({name: dim(size) for name, size in self.sizes.items()}).constant


def costs(graph: TypedGraph) -> Costs:
    """Read off the typed graph alone."""
    table, _ = parameter_table(graph)
    sizes = greatest_sizes(graph)
    fixed = (
        graph.root.flops.substitute({name: dim(size) for name, size in sizes.items()}).constant is not None
    )
    return Costs(
        parameters=sum(p.numel for p in table.parameters),
        ties=table.ties,
        flops=graph.root.flops,
        sizes=sizes if fixed else {},
        cache=_cached(graph.root),
        weights={
            build: sum(p.numel * itemsize(p.dtype, build) for p in table.parameters) for build in BUILDS
        },
        activations={b: peak(graph.root, sizes, partial(itemsize, build=b)) for b in BUILDS if fixed},
    )


def itemsize(dtype: str, build: str) -> int:
    """Bytes per element of a type of ours in a module built in a dtype."""
    return ITEMSIZE[{"float": build, "int": "int64"}.get(dtype, dtype)]


def greatest_sizes(graph: TypedGraph) -> dict[str, int]:
    """Batches of one; each length at its bound; with a cache, all tokens at once."""
    batches = {str(t.shape[0]) for t in graph.root.inputs.values() if t.rank > 0}
    bounds = {name: int(attr.value) for name, attr in graph.graph.max_dims.items()}
    whole = bounds.get(KEY_LENGTH) if graph.cached else None
    symbols = {
        s for t in graph.root.inputs.values() for d in t.shape for s in d.symbols
    } | graph.root.flops.symbols
    sizes: dict[str, int] = {}
    for name in sorted(symbols):
        size = 1 if name in batches else bounds.get(name, whole)
        if size is not None:
            sizes[name] = size
    return sizes


def _cached(block: TypedBlock) -> dict[str, int]:
    """Elements that all caches keep of one token of one sequence."""
    found: dict[str, int] = {}
    for typed in block.nodes:
        action = typed.node.action
        if isinstance(action, OpNode) and action.op == "cache":
            for kind in typed.outputs.values():
                for monomial, coefficient in product(kind.shape[1:]).terms:
                    length = " ".join(monomial)
                    found[length] = found.get(length, 0) + coefficient
        for child, runs in zip(typed.children, typed.layer_counts(), strict=True):
            for length, elements in _cached(child).items():
                found[length] = found.get(length, 0) + elements * runs
    return found
