"""list: a row per spec and variant."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from compiler.cli.arguments import Verbs, add_json, add_verb
from compiler.report.units import exact


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
        table = [("name", "task", "parameters", "weights", "source")]
        table += [(r.name, r.task, exact(r.parameters), r.weights_text(), r.source) for r in rows]
        widths = [max(len(line[k]) for line in table) for k in range(5)]
        for line in table:
            cells = (
                cell.rjust(w) if k == 2 else cell.ljust(w)
                for k, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            print("  ".join(cells).rstrip())
    if faults:
        print(render_all(faults), file=sys.stderr)
    return 1 if faults else 0
