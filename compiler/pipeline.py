"""The phases in order. Each takes the type of its level and gives the next; a verifier stands between."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.ir.graph import Graph
from compiler.ir.program import Program
from compiler.ir.typed import TypedGraph
from compiler.ops.text.styles import STYLES
from compiler.passes.hoist import hoist
from compiler.passes.infer_shapes import infer_shapes
from compiler.passes.io import SECTION as IO_SECTION
from compiler.passes.library import Library
from compiler.passes.lower import lower
from compiler.passes.optimize import optimize as optimized
from compiler.passes.overrides import parse_overrides
from compiler.passes.resolve import resolve

if TYPE_CHECKING:
    import torch
    from torch import nn

Overrides = Mapping[str, Any]

#: The spec in a folder of weights that are named as ours.
OWN_SPEC = "spec.yaml"

_verifying: ContextVar[bool] = ContextVar("verifying", default=False)


def compile(source: str | Path, *, set: Overrides | None = None, optimize: Collection[str] = ()) -> Program:
    """A spec as a Program, without torch.

    source: a spec's name (`gpt2`, `gpt2:medium`), the path of one, or a checkpoint folder or file of a known
    family.
    set: params to override, by path: {"heads": 8, "rope.base": 1e6}.
    optimize: passes that buy speed or memory; "fuse" makes one linear map of those that read the same value,
    "loss" lets forward, given labels, return the loss alone, without ever having all logits.
    Raises CompileError with every fault that the first faulty phase found.
    """
    return program(typed_graph(source, set=set), optimize=optimize)


def graph(source: str | Path, *, set: Overrides | None = None) -> Graph:
    """The phases up to resolution."""
    library = Library()
    name, variant, found = locate(source)
    parsed = library.spec(name)
    assert parsed.spec is not None
    resolved = resolve(parsed.spec, library, variant, parse_overrides({**found, **(set or {})}))
    if _verifying.get():
        from compiler.ir.verify import verify_graph

        verify_graph(resolved)
    return resolved


def typed_graph(source: str | Path, *, set: Overrides | None = None) -> TypedGraph:
    """The phases up to shape inference."""
    return _verified(infer_shapes(graph(source, set=set)))


def program(typed: TypedGraph, style: str = "views", optimize: Collection[str] = ()) -> Program:
    """The phases from shape inference to the program, its ops written in one of STYLES."""
    lowered = lower(_verified(optimized(hoist(typed), optimize)), STYLES[style])
    if _verifying.get():
        from compiler.ir.verify_program import verify_program

        verify_program(lowered)
    return lowered


def _verified(typed: TypedGraph) -> TypedGraph:
    if _verifying.get():
        from compiler.ir.verify import verify_typed

        verify_typed(typed)
    return typed


@contextmanager
def verifying() -> Iterator[None]:
    """Inside, every level is verified as soon as it is made; InvalidIR is a bug of the compiler."""
    token = _verifying.set(True)
    try:
        yield
    finally:
        _verifying.reset(token)


def is_checkpoint(path: Path) -> bool:
    """Whether a source is a checkpoint's folder or file, not a spec."""
    return os.path.isdir(path) or (os.path.isfile(path) and path.suffix not in (".yaml", ".yml"))


def locate(source: str | Path) -> tuple[str | Path, str, dict[str, Any]]:
    """A source as (spec name or path, variant, params that a checkpoint sets)."""
    path = Path(source)
    if os.path.isfile(path / OWN_SPEC):  # false, too, for what no path can be
        return path / OWN_SPEC, "", {}
    if is_checkpoint(path):
        from compiler.weights.config import recognise

        found = recognise(path)
        return found.spec, "", {**found.set, **({IO_SECTION: dict(found.io)} if found.io else {})}
    text = str(source)
    if isinstance(source, Path):
        return source, "", {}
    name, colon, variant = text.rpartition(":")
    if colon and not os.path.exists(path) and "/" not in variant:
        return name, variant, {}
    return text, "", {}


def emit(
    source: str | Path,
    *,
    set: Overrides | None = None,
    style: str = "views",
    optimize: Collection[str] = (),
) -> str:
    """A spec as one standalone PyTorch file. style: "views", or "einops" for the form to teach from.

    source, set, optimize: as for `compile`.
    """
    from compiler.backend.emit import emit as write

    if style not in STYLES:
        raise ValueError(f"the style is one of {', '.join(STYLES)}, not {style!r}")
    return write(program(typed_graph(source, set=set), style, optimize))


def build(
    source: str | Path,
    *,
    set: Overrides | None = None,
    optimize: Collection[str] = (),
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """A spec as an nn.Module, initialised by the spec's rules; `device="meta"` allocates nothing.

    source, set, optimize: as for `compile`.
    dtype: of the parameters that follow the module's dtype, default torch's.
    """
    from compiler.backend.build import build as construct

    return construct(compile(source, set=set, optimize=optimize), device=device, dtype=dtype)
