"""generate: texts continued, or rewritten, token by token."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_verb
from compiler.diagnostics.diagnostic import fail
from runtime.cli.choice import add_choice, choice_of
from runtime.cli.model import STDIN, add_model, need_tokenizer, open_for, print_json, read_stdin
from runtime.cli.writing import add_tokens, print_pieces, print_written

if TYPE_CHECKING:
    from runtime.tasks.generate import Written
    from runtime.tasks.opened import Opened

NEW_TOKENS = 64


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "generate", "continue texts, or have them rewritten, token by token")
    add_model(parser)
    parser.add_argument(
        "prompts", metavar="PROMPT", nargs="*", help="texts, together one batch; `-` reads one from stdin"
    )
    add_tokens(parser, "a prompt as token ids, which need no tokenizer; repeatable")
    add_choice(parser, NEW_TOKENS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Generate; a single text on a terminal is shown as it is written."""
    prompts = [read_stdin() if prompt == STDIN else prompt for prompt in options.prompts]
    if bool(prompts) == bool(options.tokens):
        raise fail("usage", "give prompts or --tokens, one of the two", None)
    opened = open_for("generate", options)
    from runtime.tasks.generate import stream_text

    if prompts:
        need_tokenizer(opened, "; or give token ids: --tokens 1,2,3")
    if len(prompts) == 1 and options.num_beams in (None, 1) and not options.json and sys.stdout.isatty():
        print_pieces(stream_text(opened, prompts[0], choice_of(options)), prompts[0])
        return 0
    found = _generated(options, opened, prompts)
    if options.json:
        print_json(options, opened, found)
    else:
        print_written(found)
    return 0


def _generated(options: argparse.Namespace, opened: Opened, prompts: list[str]) -> list[Written]:
    from runtime.tasks.generate import generate_texts, generate_tokens

    if prompts:
        return generate_texts(opened, prompts, choice_of(options))
    return generate_tokens(opened, options.tokens, choice_of(options))
