"""show: the folded tree of a spec, and what it costs."""

from __future__ import annotations

import argparse
import json

from compiler.cli.arguments import Verbs, add_json, add_source, add_verb, settings
from compiler.pipeline import typed_graph
from compiler.report.summary import report, report_data


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "show", "the tree of a spec with shapes, parameters, FLOPs and memory")
    add_source(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    typed = typed_graph(options.source, set=settings(options))
    print(
        json.dumps(report_data(typed), indent=2) if options.json else report(typed),
        end="\n" if options.json else "",
    )
    return 0
