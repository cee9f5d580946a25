"""classify: the likeliest classes of texts, of their tokens, or of images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_verb
from runtime.cli.arguments import add_top
from runtime.cli.model import add_model, in_batches, lines_of, need_tokenizer, open_for, print_json

if TYPE_CHECKING:
    from runtime.tasks.classify import Class, Tagged
    from runtime.tasks.opened import Opened

BATCH = 16


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "classify", "the likeliest classes of texts, of their tokens, or of images")
    add_model(parser)
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+",
        help="texts, or files of images where the model sees; `-` reads one per line from stdin",
    )  # fmt: skip
    add_top(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Classify and print."""
    inputs = lines_of(options.inputs, "input")
    opened = open_for("classify", options)
    chunks = in_batches(inputs, BATCH, "classifying")
    found = [answer for chunk in chunks for answer in _classified(opened, chunk, options.top)]
    if options.json:
        rows = zip(inputs, found, strict=True)
        print_json(options, opened, ({"input": given, "classes": answer} for given, answer in rows))
    else:
        for given, answer in zip(inputs, found, strict=True):
            print("\n".join((given, *map(_line, answer))))
    return 0


def _classified(opened: Opened, inputs: Sequence[str], top: int) -> Sequence[tuple[Class | Tagged, ...]]:
    """The classes of each input, or of each token of it."""
    from runtime.tasks.abilities import tags_tokens
    from runtime.tasks.classify import classify_images, classify_texts, tag_texts

    if "pixels" in opened.signature.inputs:
        return classify_images(opened, opened.images(list(inputs)), top=top)
    need_tokenizer(opened)
    if tags_tokens(opened.signature):
        return tag_texts(opened, inputs)
    return classify_texts(opened, inputs, top=top)


def _line(found: Class | Tagged) -> str:
    """A class and its score; after the token that has it, where tokens are judged."""
    from runtime.tasks.classify import Tagged

    if isinstance(found, Tagged):
        return f"  {found.token:<16} {found.tag.name}  {found.tag.score:.4f}"
    return f"  {found.score:.4f}  {found.name}"
