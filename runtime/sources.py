"""What `load` is asked for: a spec, the checkpoint that goes with it, and the map between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.diagnostics.diagnostic import fail
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


@dataclass(frozen=True)
class Source:
    """A compiled spec and, where there are weights, their header and how they are read."""

    program: Program
    header: Header | None
    map: WeightMap | None

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
) -> Source:
    """Resolve a source from headers alone. weights: "default", a file or folder, or None for no weights."""
    program = compile_spec(source, set=set)
    if weights is None:
        return Source(program, None, None)
    library = _library(source)
    checkpoint = _checkpoint(source, weights, program, library)
    if weightmap is not None:
        chosen = library.load(weightmap if Path(weightmap).suffix else str(weightmap))
        return Source(program, read_header(checkpoint, chosen.unwrap), chosen)
    candidates = library.candidates(program.table.spec, program.table.parents)
    containers = tuple(name for map in candidates for name in map.unwrap)
    header = read_header(checkpoint, containers)
    return Source(program, header, choose(library, program.table, header, dialect))


def _library(source: str | Path) -> Library:
    """The maps beside a user's spec come before the packaged ones."""
    path = Path(source)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return Library.standard([path.parent, path.parent.parent / "weightmaps"])
    return Library.standard()


def _checkpoint(source: str | Path, weights: str | Path, program: Program, library: Library) -> Path:
    """The file or folder that holds the weights."""
    if weights != "default":
        path = Path(weights)
        if not path.exists():
            raise fail("not-found", f"there is no checkpoint `{path}`", None)
        return path
    path = Path(source)
    if is_checkpoint(path):
        return path
    raise fail(
        "not-found",
        f"no weights were given for `{display_name(path) if path.exists() else source}`",
        program.typed.root.block.span,
        help="pass weights=PATH to a checkpoint of it, or weights=None for initial values"
        + _published(program, library),
    )


def _published(program: Program, library: Library) -> str:
    """Where the spec's own checkpoint is published."""
    for map in library.candidates(program.table.spec, program.table.parents):
        for published in map.files.values():
            return f"; it is published as `{published.repository}`"
    return ""
