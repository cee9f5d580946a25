"""The whole report of a spec: what it is, its folded tree, and what it costs; as text and as data."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from compiler.ir.typed import TypedBlock, TypedGraph
from compiler.report.cost import BUILDS, Costs, costs, itemsize
from compiler.report.tree import Row, input_types, render, tree
from compiler.report.units import closed_form, exact, nbytes, one_line, short

WIDTH = 100


def report(graph: TypedGraph) -> str:
    """The text that `show` prints and `build` leaves beside the model."""
    root = graph.root.block
    facts = [one_line(text) for text in (root.source, graph.graph.task) if text]
    title = f"{root.name}: {one_line(root.summary)}" if root.summary else root.name
    head = [*textwrap.wrap(title, WIDTH), *facts]
    outputs = [f"{name}: {graph.root.type_of(ref)}" for name, ref in root.outputs.items()]
    body = ["", *render(graph.root), "", "outputs  " + ", ".join(outputs), *_methods(graph), ""]
    return "\n".join([*head, *body, *_totals(costs(graph))]) + "\n"


def report_data(graph: TypedGraph) -> dict[str, Any]:
    """The same facts for scripts."""
    root = graph.root.block
    found = costs(graph)
    return {
        "name": root.name,
        "summary": root.summary,
        "source": root.source,
        "task": graph.graph.task,
        "inputs": input_types(graph.root),
        "outputs": {name: str(graph.root.type_of(ref)) for name, ref in root.outputs.items()},
        "methods": [m.name for m in graph.graph.methods],
        "nodes": _rows(graph.root),
        "parameters": found.parameters,
        "ties": dict(found.ties),
        "weight_bytes": dict(found.weights),
        "flops": str(found.flops),
        "sizes": dict(found.sizes),
        "flops_at_sizes": found.flops_at if found.sizes else None,
        "cache_bytes_per_token": _cache_bytes(found),
        "activation_bytes_at_sizes": dict(found.activations),
    }


def _methods(graph: TypedGraph) -> list[str]:
    methods = graph.graph.methods
    return (
        ["methods  " + ", ".join(f"{m.name} -> {', '.join(m.outputs)}" for m in methods)] if methods else []
    )


def _totals(found: Costs) -> list[str]:
    ties = ", ".join(f"{alias} is {owner}" for alias, owner in found.ties.items())
    rows = [
        ("parameters", exact(found.parameters) + (f" (ties counted once: {ties})" if ties else "")),
        ("weights", _by_build(found.weights)),
        ("FLOPs", closed_form(found.flops)),
    ]
    if found.sizes and found.flops_at is not None:
        at = ", ".join(f"{name} = {exact(size)}" for name, size in found.sizes.items())
        rows.append((f"  at {at}", f"{exact(found.flops_at)} ({short(found.flops_at)})"))
    for length, sizes in _cache_bytes(found).items():
        of = f" of {length}" if len(found.cache) > 1 else ""
        rows.append((f"cache per token{of}", _by_build(sizes)))
    if found.activations:
        rows.append(
            (
                "activations",
                f"at least {_by_build(found.activations)} (at the fullest step, without gradients)",
            )
        )
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {value}" for name, value in rows]


def _cache_bytes(found: Costs) -> dict[str, dict[str, int]]:
    """By the length that counts the tokens, then by the dtype of the build."""
    return {
        length: {build: elements * itemsize("float", build) for build in BUILDS}
        for length, elements in found.cache.items()
    }


def _by_build(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{nbytes(size)} in {build}" for build, size in sizes.items())


def _rows(block: TypedBlock) -> list[dict[str, Any]]:
    return [_row(row) for row in tree(block)]


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "is": row.kind,
        "times": row.times,
        "note": row.note,
        "gives": dict(row.gives),
        "parameters": row.parameters,
        "flops": str(row.flops),
        "nodes": [_row(child) for child in row.children],
    }
