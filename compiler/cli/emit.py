"""emit: a spec as one standalone PyTorch file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from compiler.cli.arguments import Verbs, add_optimize, add_source, add_verb, settings
from compiler.cli.files import Output, write_all
from compiler.ops.text.styles import STYLES


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "emit", "the PyTorch text of a spec, in one file that needs only torch")
    add_source(parser)
    add_optimize(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="write the file FILE instead of printing"
    )
    parser.add_argument(
        "--style",
        choices=STYLES,
        default="views",
        help="einops: the patterns of the spec, to teach from; local: what one of several ranks runs",
    )
    parser.add_argument("--force", action="store_true", help="overwrite FILE whatever it holds")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print or write the text."""
    from compiler.pipeline import emit

    text = emit(options.source, set=settings(options), style=options.style, optimize=options.optimize)
    if options.output is None:
        sys.stdout.write(text)
    else:
        write_all([Output(options.output, text)], force=options.force)
    return 0
