"""eval: the figures of a run's checkpoint on what it held out."""

from __future__ import annotations

import argparse
from pathlib import Path

from compiler.cli.arguments import Verbs, add_json, add_verb
from runtime.cli.arguments import positive


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "eval", "measure a trained model on what its run held out")
    parser.add_argument("folder", metavar="DIR", type=Path, help="a run folder")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="default: best")
    parser.add_argument("--batches", metavar="N", type=positive, help="read only so many (default: all)")
    parser.add_argument(
        "--device", help="where to compute (default: the recipe's, or cpu if that is not here)"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    from runtime.training.report import as_json
    from runtime.training.run import evaluate

    found = evaluate(
        options.folder, checkpoint=options.checkpoint, batches=options.batches, device=options.device
    )
    if options.json:
        print(as_json(found))
    else:
        print("\n".join(f"{name} {value:.6g}" for name, value in found.items()))
    return 0
