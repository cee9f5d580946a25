"""What can be compiled by name: every spec of the search folders, its variants, and their weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from compiler.diagnostics.diagnostic import CompileError, Diagnostic
from compiler.ir.typed import TypedGraph
from compiler.passes.library import find_spec, read_source, spec_names
from compiler.pipeline import program, typed_graph
from compiler.syntax.model_spec import ModelSpec
from compiler.syntax.parse import parse
from compiler.weights.cache import MAIN, cached_weights
from compiler.weights.library import Library, WeightMap
from compiler.weights.plan import plan_export
from compiler.weights.published import published

_SPEC_LINE = re.compile(r"^spec:", re.MULTILINE)
_MAP_LINE = re.compile(r"^weightmap:", re.MULTILINE)


@dataclass(frozen=True)
class Weights:
    """The dialects that are read, and where the checkpoint of this very variant is published.

    revision: None for the repository's newest; file: None for the one of the usual name.
    cached: the weights as the hub's cache has them, where a load would find them.
    """

    dialects: tuple[str, ...]
    repository: str | None = None
    revision: str | None = None
    file: str | None = None
    cached: str | None = None


@dataclass(frozen=True)
class Entry:
    """A spec at its defaults, or one of its variants."""

    name: str
    task: str
    parameters: int
    source: str
    weights: Weights

    def weights_text(self) -> str:
        """The weights in a table's cell."""
        dialects = ", ".join(self.weights.dialects) or "no map"
        place = (
            self.weights.repository
            and f" ({self.weights.repository}{', cached' if self.weights.cached else ''})"
        )
        return dialects + (place or "")


def catalog() -> tuple[list[Entry], list[Diagnostic]]:
    """The entries, and the faults of files that cannot be listed."""
    entries: list[Entry] = []
    faults: list[Diagnostic] = []
    maps = Library.standard()
    for name in spec_names():
        try:
            entries += _entries(name, maps)
        except CompileError as error:
            faults += error.diagnostics
    return entries, faults


def _entries(name: str, maps: Library) -> Iterator[Entry]:
    file = read_source(find_spec(name))
    if not _SPEC_LINE.search(file.text) or _MAP_LINE.search(file.text):
        return  # a file of blocks, or a weight map that stands beside the specs
    spec = parse(file).spec
    assert spec is not None
    for variant in ("", *map(str, spec.variants)):
        full = f"{name}:{variant}" if variant else name
        typed = typed_graph(full)
        block = typed.root.block
        weights = _weights(maps, spec, typed, variant)
        yield Entry(full, typed.graph.task, typed.root.parameter_count(), block.source, weights)


def _weights(library: Library, spec: ModelSpec, typed: TypedGraph, variant: str) -> Weights:
    """The maps of a spec, and the place that one of them names for the variant."""
    name = str(spec.spec.value)
    maps = [m for m in library.candidates(name, typed.graph.parents) if m.spec == name or _fits(m, typed)]
    dialects = tuple(m.dialect for m in maps)
    found = published(maps, spec, variant)
    if found is None:
        return Weights(dialects)
    _, place = found
    here = cached_weights(place.repository, place.revision or MAIN, place.file)
    return Weights(dialects, place.repository, place.revision, place.file, str(here) if here else None)


def _fits(map: WeightMap, typed: TypedGraph) -> bool:
    """Whether a parent's map still accounts for every tensor."""
    try:
        plan_export(map, program(typed).table)
    except CompileError:
        return False
    return True
