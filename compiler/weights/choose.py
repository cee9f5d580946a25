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
#: Faults of a map itself, whatever the file: its names were not even compared.
BROKEN = frozenset({"expr-name", "expr-syntax", "expr-value", "bad-value", "rule-syntax"})


def choose(library: Library, table: ParameterTable, header: Header, dialect: str | None = None) -> WeightMap:
    """The map of that dialect, or the only one that covers the header. Raises CompileError."""
    maps = library.candidates(table.spec, table.parents)
    if dialect is not None:
        return _named(maps, table, dialect)
    if not maps:
        raise fail("map-missing", f"no weight map serves the spec {table.spec}", None, help=_where(library))
    if len(maps) == 1:
        return maps[0]
    faults = {m.name: _faults(m, table, header) for m in maps}
    fitting = [m for m in maps if not faults[m.name]]
    if len(fitting) > 1:
        names = ", ".join(m.name for m in fitting)
        raise fail(
            "ambiguous-name", f"several maps read {header.path.name}: {names}", None, help="name the dialect"
        )
    covering = fitting or [m for m in maps if not any(d.code in NAMES | BROKEN for d in faults[m.name])]
    if len(covering) == 1:
        return covering[0]
    telling = [d for m in maps for d in faults[m.name] if d.code in BROKEN]
    telling = telling or [d for m in covering for d in faults[m.name]]
    if telling:
        raise CompileError(tuple(telling))
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
        return list(error.diagnostics)
    return []


def _first(map: WeightMap, faults: list[Diagnostic]) -> str:
    """What most tells why a map does not fit: what it misses."""
    names = [fault for fault in faults if fault.code in NAMES]
    telling = min(names, key=lambda fault: fault.code != "key-missing")
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{map.name}: {telling.message}{more}"


def _where(library: Library) -> str:
    return "looked in " + ", ".join(map(str, library.folders))
