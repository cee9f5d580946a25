"""train: a recipe becomes a run folder."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from compiler.cli.arguments import Verbs, add_verb, settings
from compiler.cli.process import INPUT
from compiler.diagnostics.diagnostic import CompileError


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "train", "train a model by a recipe")
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's name (char_gpt) or path")
    parser.add_argument(
        "-o", "--out", metavar="DIR", type=Path, help="the run folder (default: runs/ and the recipe's name)"
    )
    parser.add_argument("--smoke", action="store_true", help="shrink the recipe to seconds")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR")
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="set a field of the recipe: optimizer.lr=3e-4, model.set.depth=2; repeatable",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, and say where the result is. 143 and 130: SIGTERM and Ctrl-C, after the state was saved."""
    from runtime.parallel.world import leads
    from runtime.training.run import train
    from runtime.training.signals import Stopped

    try:
        folder = train(
            options.recipe,
            options.out,
            set=settings(options),
            smoke=options.smoke,
            resume=options.resume,
        )
    except Stopped as stopped:
        if leads():
            print(f"{stopped}; go on with --resume", file=sys.stderr)
        return stopped.code
    except CompileError:
        if leads():
            raise
        time.sleep(0.5)  # torchrun ends all as soon as one has failed: the first says what is wrong
        return INPUT
    if leads():
        print(f"best: {folder / 'best'}   card: {folder / 'README.md'}   curve: {folder / 'curve.svg'}")
    return 0
