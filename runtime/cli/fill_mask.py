"""fill-mask: the likeliest tokens where a text has mask tokens."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_verb
from runtime.cli.arguments import add_top, percent
from runtime.cli.model import add_model, lines_of, need_tokenizer, open_for, print_json

if TYPE_CHECKING:
    from runtime.tasks.fill_mask import Filled


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "fill-mask", "the likeliest tokens where a text has mask tokens")
    add_model(parser)
    parser.add_argument(
        "texts", metavar="TEXT", nargs="+",
        help='texts with mask tokens, "Paris is the [MASK] of France."; `-` reads one per line from stdin',
    )  # fmt: skip
    add_top(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fill and print."""
    texts = lines_of(options.texts, "text")
    opened = open_for("fill-mask", options)
    from runtime.tasks.fill_mask import fill_mask

    need_tokenizer(opened)
    found = fill_mask(opened, texts, top=options.top)
    if options.json:
        print_json(options, opened, found)
    else:
        print("\n\n".join("\n".join(_report(filled)) for filled in found))
    return 0


def _report(filled: Filled) -> Iterator[str]:
    """The filled text, then the guesses for each mask, the likeliest first."""
    yield filled.filled
    for number, guesses in enumerate(filled.masks, 1):
        shown = ", ".join(f"{guess.token} {percent(guess.probability)}" for guess in guesses)
        yield f"  mask {number}: {shown}"
