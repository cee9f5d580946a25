"""What `load` is asked for: a spec, the checkpoint that goes with it, and the map between them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.diagnostics.diagnostic import Note, fail
from compiler.ir.program import Program
from compiler.pipeline import compile as compile_spec
from compiler.pipeline import is_checkpoint
from compiler.source.text import display_name
from compiler.weights.choose import choose
from compiler.weights.header import Header
from compiler.weights.library import Library, WeightMap
from compiler.weights.load_plan import LoadPlan
from compiler.weights.plan import plan
from compiler.weights.readers import read_header
from runtime.files import fetch_config, fetch_weights
from runtime.hub import Repository
from runtime.origin import Origin, beside, library_of, publication, repository


@dataclass(frozen=True)
class Source:
    """A compiled spec and, where there are weights, their header, how they are read and where from."""

    program: Program
    header: Header | None
    map: WeightMap | None
    origin: Origin | None

    def plan(self, dtype: str | None) -> LoadPlan:
        """How the checkpoint's tensors become the module's.
        Raises CompileError with every fault of the pair.
        """
        assert self.header is not None and self.map is not None
        return plan(self.map, self.program.table, self.header, dtype)


def open_source(
    source: str | Path,
    *,
    weights: str | Path | None = "default",
    dialect: str | None = None,
    weightmap: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    optimize: Collection[str] = (),
) -> Source:
    """Resolve a source from headers alone.

    weights: "default", a file, folder or repository, or None for no weights.
    """
    place = Repository.named(source)
    here: str | Path = source
    if place is not None:
        here, place = fetch_config(place).parent, place.pinned()
    program = compile_spec(here, set=set, optimize=optimize)
    library = library_of(here)
    if weights is None:
        return Source(
            program, None, None, place or (beside(Path(here)) if is_checkpoint(Path(here)) else None)
        )
    found = _given(weights) if weights != "default" else _default(source, place, program, library, dialect)
    if weightmap is not None:
        chosen: WeightMap | None = library.load(weightmap if Path(weightmap).suffix else str(weightmap))
    else:
        chosen = found.map
    if chosen is not None:
        return Source(program, read_header(found.checkpoint, chosen.unwrap), chosen, found.origin)
    candidates = library.candidates(program.table.spec, program.table.parents)
    containers = tuple(name for map in candidates for name in map.unwrap)
    header = read_header(found.checkpoint, containers)
    return Source(program, header, choose(library, program.table, header, dialect), found.origin)


@dataclass(frozen=True)
class _Found:
    """The file or folder that holds the weights, where it is from, and the map that says so, if one does."""

    checkpoint: Path
    origin: Origin
    map: WeightMap | None = None


def _given(weights: str | Path) -> _Found:
    """Weights by their path or repository."""
    path = Path(weights)
    if os.path.exists(path):
        return _Found(path, beside(path))
    place = Repository.named(weights)
    if place is not None:
        return _fetched(place)
    raise fail("not-found", f"there is no checkpoint `{path}`", None)


def _default(
    source: str | Path, place: Repository | None, program: Program, library: Library, dialect: str | None
) -> _Found:
    """The weights that belong to a source: its own, or those that are published for its spec."""
    path = Path(source)
    if place is not None:
        return _fetched(place)
    if is_checkpoint(path):
        return _Found(path, beside(path))
    found = publication(source, library, dialect)
    if found is not None:
        map, published = found
        return _fetched(repository(published), published.file, map)
    name = display_name(path) if os.path.exists(path) else source
    raise fail(
        "not-found",
        f"no weights are published for `{name}`" + (f" in the dialect `{dialect}`" if dialect else ""),
        program.typed.root.block.span,
        notes=_others(program.table.spec, library),
        help="pass weights=PATH to a checkpoint of it, or weights=None for initial values",
    )


def _others(spec: str, library: Library) -> tuple[Note, ...]:
    """What is published of the same spec."""
    maps = [m for m in library.candidates(spec) if m.spec == spec and m.files]
    return tuple(Note(f"{m.name} names those of {', '.join(m.files)}", m.span) for m in maps)


def _fetched(place: Repository, file: str | None = None, map: WeightMap | None = None) -> _Found:
    checkpoint = fetch_weights(place, file)
    return _Found(checkpoint, place.pinned(), map)
