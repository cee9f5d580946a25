"""check: every fault of every spec given."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from typing import Any

from compiler.cli.arguments import SOURCE, Verbs, add_json, add_settings, add_verb, settings
from compiler.diagnostics.diagnostic import CompileError, Diagnostic
from compiler.diagnostics.render import render, render_all, render_json
from compiler.pipeline import compile, graph, typed_graph, verifying
from compiler.report.units import exact

Settings = dict[str, Any]

LEVELS = ("graph", "typed", "program")


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "check", "every fault of the specs given, or that there is none")
    parser.add_argument("sources", metavar="SPEC", nargs="+", help=SOURCE)
    add_settings(parser)
    parser.add_argument("--dump", choices=LEVELS, help="print the canonical text of a level instead")
    parser.add_argument(
        "--verify", action="store_true", help="check the compiler's own work between its phases"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Judge every spec; print what holds, and all that does not."""
    values = settings(options)
    found: list[Diagnostic] = []
    rows: list[dict[str, object]] = []
    with verifying() if options.verify else nullcontext():
        for source in options.sources:
            try:
                rows.append(_check(source, values, options.dump))
            except CompileError as error:
                rows.append({"spec": source, "ok": False})
                found += error.diagnostics
    found = list({render(d): d for d in found}.values())  # files that several specs use are told once
    if options.json:
        print(json.dumps({"specs": rows, "diagnostics": json.loads(render_json(found))}, indent=2))
    else:
        _print(rows, found)
    return 1 if found else 0


def _check(source: str, values: Settings, dump: str | None) -> dict[str, object]:
    """One spec that holds, as a row. Raises CompileError."""
    if dump is not None:
        return {"spec": source, "ok": True, "dump": _dump(source, values, dump)}
    program = compile(source, set=values)
    return {"spec": source, "ok": True, "parameters": sum(p.numel for p in program.table.parameters)}


def _dump(source: str, values: Settings, level: str) -> str:
    """The canonical text of a level."""
    from compiler.ir.printer import print_graph, print_typed
    from compiler.ir.program_printer import print_program

    match level:
        case "graph":
            return print_graph(graph(source, set=values))
        case "typed":
            return print_typed(typed_graph(source, set=values))
        case _:
            return print_program(compile(source, set=values))


def _print(rows: list[dict[str, object]], found: list[Diagnostic]) -> None:
    for row in rows:
        if "dump" in row:
            sys.stdout.write(str(row["dump"]))
        elif row["ok"]:
            print(f"ok {row['spec']} ({exact(int(str(row['parameters'])))} parameters)")
    if found:
        print(render_all(found), file=sys.stderr)
