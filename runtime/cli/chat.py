"""chat: a conversation, or one answer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress

from compiler.cli.arguments import Verbs, add_verb
from runtime.cli.choice import add_choice, choice_of
from runtime.cli.model import STDIN, add_model, need_tokenizer, open_for, print_json, read_stdin
from runtime.cli.writing import print_pieces

NEW_TOKENS = 512


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "chat", "talk with a model that was trained to answer")
    add_model(parser)
    parser.add_argument(
        "message", metavar="MESSAGE", nargs="?",
        help="one message, `-` from stdin; left out, a conversation until the end of the input (Ctrl-D)",
    )  # fmt: skip
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    add_choice(parser, NEW_TOKENS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer the message, or each line."""
    opened = open_for("chat", options)
    need_tokenizer(opened)
    from runtime.tasks.chat import answer, stream_answer

    messages = [{"role": "system", "content": options.system}] if options.system is not None else []
    choice = choice_of(options)
    for said in _messages(options.message):
        messages.append({"role": "user", "content": said})
        if options.json:
            found = answer(opened, messages, choice)
            print_json(options, opened, [found])
            text = found.text or ""
        else:
            heard: list[str] = []
            print_pieces(_kept(stream_answer(opened, messages, choice), heard))
            text = "".join(heard)
        messages.append({"role": "assistant", "content": text})
    return 0


def _messages(given: str | None) -> Iterator[str]:
    """The one message, or what is typed line by line."""
    if given is not None:
        yield read_stdin() if given == STDIN else given
        return
    if sys.stdin.isatty():
        with suppress(ImportError):
            import readline  # noqa: F401 - its import gives `input` a line that can be edited
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if line.strip():
            yield line


def _kept(pieces: Iterator[str], heard: list[str]) -> Iterator[str]:
    """The pieces, each remembered."""
    for piece in pieces:
        heard.append(piece)
        yield piece
