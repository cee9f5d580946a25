"""Which map reads a checkpoint when nobody says so: the only one whose names cover the file."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.diagnostics.diagnostic import CompileError, Diagnostic, Note, fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.parameters import ParameterTable
from compiler.weights.header import Header
from compiler.weights.library import Library, WeightMap
from compiler.weights.plan import plan

#: Faults of names; a tensor of another shape is a damaged or different model, not another dialect.
NAMES = frozenset({"key-missing", "key-unexpected", "rule-unused", "rule-collision"})


def choose(library: Library, table: ParameterTable, header: Header, dialect: str | None = None) -> WeightMap:
    """The map of that dialect, or the only one that covers the header. Raises CompileError."""
    maps = library.candidates(table.spec, table.parents)
    if dialect is not None:
        return _named(maps, table, dialect)
    if len(maps) == 1:
        return maps[0]
    faults = {m.name: _faults(m, table, header) for m in maps}
    covering = [m for m in maps if not faults[m.name]]
    if len(covering) == 1:
        return covering[0]
    if not maps:
        raise fail("map-missing", f"no weight map serves the spec {table.spec}", None, help=_where(library))
    if covering:
        names = ", ".join(m.name for m in covering)
        raise fail(
            "ambiguous-name", f"several maps read {header.path.name}: {names}", None, help="name the dialect"
        )
    notes = tuple(Note(_first(m, faults[m.name]), m.span) for m in maps)
    raise fail(
        "map-missing",
        f"no weight map of {table.spec} reads {header.path.name}",
        None,
        notes=notes,
        help="name the dialect to see all of its faults",
    )


def _named(maps: Sequence[WeightMap], table: ParameterTable, dialect: str) -> WeightMap:
    for candidate in maps:
        if candidate.dialect == dialect:
            return candidate
    known = [m.dialect for m in maps]
    raise fail(
        "map-missing",
        f"the spec {table.spec} has no dialect `{dialect}`",
        None,
        help=did_you_mean(dialect, known),
    )


def _faults(map: WeightMap, table: ParameterTable, header: Header) -> list[Diagnostic]:
    try:
        plan(map, table, header)
    except CompileError as error:
        return [d for d in error.diagnostics if d.code in NAMES]
    return []


def _first(map: WeightMap, faults: list[Diagnostic]) -> str:
    """What most tells why a map does not fit: what it misses."""
    telling = min(faults, key=lambda fault: fault.code != "key-missing")
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"{map.name}: {telling.message}{more}"


def _where(library: Library) -> str:
    return "looked in " + ", ".join(map(str, library.folders))
