"""list: a row per spec and variant."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_json, add_verb
from compiler.report.units import exact, one_line

if TYPE_CHECKING:
    from compiler.cli.catalog import Entry


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "list", "the specs that are found by name, with their variants and weights")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the rows; files that cannot be listed are told at the end."""
    from compiler.cli.catalog import catalog
    from compiler.diagnostics.render import render_all

    rows, faults = catalog()
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print("\n".join(_table(rows)))
    if faults:
        print(render_all(faults), file=sys.stderr)
    return 1 if faults else 0


def _table(rows: Sequence[Entry]) -> Iterator[str]:
    """Aligned lines under a head."""
    lines = [("name", "task", "parameters", "weights", "source")]
    for row in rows:
        weights = one_line(row.weights_text())
        lines.append((row.name, one_line(row.task), exact(row.parameters), weights, one_line(row.source)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, task, parameters, weights, source in lines:
        left = f"{name.ljust(widths[0])}  {task.ljust(widths[1])}  {parameters.rjust(widths[2])}"
        yield f"{left}  {weights.ljust(widths[3])}  {source}".rstrip()
