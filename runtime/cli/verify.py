"""verify: how a checkpoint is read, and proof that every tensor comes back."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from compiler.cli.arguments import SOURCE, Verbs, add_json, add_verb
from runtime.cli.arguments import add_checkpoint

if TYPE_CHECKING:
    from runtime.verify import Verification


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "verify", "the plan of a checkpoint, and a hash of every tensor round-tripped")
    parser.add_argument("source", metavar="SPEC", help=SOURCE)
    parser.add_argument(
        "--weights", metavar="PATH", default="default", help="the checkpoint, where SPEC is a spec"
    )
    add_checkpoint(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the plan and whether it loses anything."""
    from runtime.verify import verify

    found = verify(options.source, weights=options.weights, dialect=options.dialect, weightmap=options.map)
    if options.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        print(found.summary)
        print(_verdict(found), file=sys.stderr if found.lost else sys.stdout)
    return 1 if found.lost else 0


def _verdict(found: Verification) -> str:
    if not found.compared:
        return "read-only dialect: nothing to write back"
    if found.lost:
        return f"{len(found.lost)} of {found.compared} tensors changed: {', '.join(found.lost)}"
    return f"all {found.compared} tensors come back bit for bit"
