"""translate: texts rewritten by an encoder and a decoder."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_verb
from compiler.diagnostics.diagnostic import fail
from runtime.cli.choice import add_choice, choice_of
from runtime.cli.model import add_model, lines_of, need_tokenizer, open_for, print_json
from runtime.cli.writing import add_tokens, print_written

if TYPE_CHECKING:
    from runtime.tasks.generate import Written
    from runtime.tasks.opened import Opened

NEW_TOKENS = 128


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "translate", "texts in another language, by an encoder and a decoder")
    add_model(parser)
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="texts; `-` reads one per line from stdin")
    add_tokens(parser, "a text as token ids, which need no tokenizer; repeatable")
    parser.add_argument(
        "--language", metavar="TOKEN",
        help="the token of the language to write, or with --tokens its id, where a model writes several",
    )  # fmt: skip
    add_choice(parser, NEW_TOKENS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Translate and print, a line for each text."""
    if bool(options.texts) == bool(options.tokens):
        raise fail("usage", "give texts or --tokens, one of the two", None)
    texts = lines_of(options.texts, "text") if options.texts else []
    opened = open_for("translate", options)
    found = _translated(options, opened, texts)
    if options.json:
        print_json(options, opened, found)
    elif texts:
        print("\n".join(written.text or "" for written in found))
    else:
        print_written(found)
    return 0


def _translated(options: argparse.Namespace, opened: Opened, texts: list[str]) -> list[Written]:
    from runtime.tasks.translate import translate, translate_tokens

    if texts:
        need_tokenizer(opened, "; or give token ids: --tokens 1,2,3")
        return translate(opened, texts, language=options.language, choice=choice_of(options))
    if options.language is not None and not options.language.isdecimal():
        raise fail("usage", "with --tokens, --language is an id, too", None)
    language = int(options.language) if options.language is not None else None
    return translate_tokens(opened, options.tokens, language=language, choice=choice_of(options))
