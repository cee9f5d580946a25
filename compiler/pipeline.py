"""The phases in order. Each takes the type of its level and gives the next; a verifier stands between."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.ir.graph import Graph
from compiler.ir.program import Program
from compiler.ir.typed import TypedGraph
from compiler.passes.hoist import hoist
from compiler.passes.infer_shapes import infer_shapes
from compiler.passes.library import Library
from compiler.passes.lower import lower
from compiler.passes.overrides import parse_overrides
from compiler.passes.resolve import resolve

Overrides = Mapping[str, Any]


def compile(source: str | Path, *, set: Overrides | None = None) -> Program:
    """A spec as a Program, without torch.

    source: a spec's name (`gpt2`, `gpt2:medium`), the path of one, or a checkpoint folder or file of a known family.
    set: params to override, by path: {"heads": 8, "rope.base": 1e6}.
    Raises CompileError with every fault that the first faulty phase found.
    """
    return lower(hoist(typed_graph(source, set=set)))


def typed_graph(source: str | Path, *, set: Overrides | None = None) -> TypedGraph:
    """The phases up to shape inference."""
    return infer_shapes(graph(source, set=set))


def graph(source: str | Path, *, set: Overrides | None = None) -> Graph:
    """The phases up to resolution."""
    library = Library()
    name, variant, found = locate(source)
    parsed = library.spec(name)
    assert parsed.spec is not None
    return resolve(parsed.spec, library, variant, parse_overrides({**found, **(set or {})}))


def locate(source: str | Path) -> tuple[str | Path, str, dict[str, Any]]:
    """A source as (spec name or path, variant, params that a checkpoint sets)."""
    path = Path(source)
    if path.is_dir() or (path.is_file() and path.suffix not in (".yaml", ".yml")):
        from compiler.weights.config import recognise

        found = recognise(path)
        return found.spec, "", dict(found.set)
    text = str(source)
    if isinstance(source, Path):
        return source, "", {}
    name, colon, variant = text.rpartition(":")
    if colon and not path.exists() and "/" not in variant:
        return name, variant, {}
    return text, "", {}


def emit(source: str | Path, *, set: Overrides | None = None) -> str:
    """A spec as one standalone PyTorch file."""
    from compiler.backend.emit import emit as write

    return write(compile(source, set=set))


