"""What the verbs that write text have in common: prompts as ids, and answers on the screen."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.tasks.generate import Written


def add_tokens(parser: argparse.ArgumentParser, text: str) -> None:
    """--tokens."""
    parser.add_argument("--tokens", metavar="1,2,3", type=ids, action="append", default=[], help=text)


def ids(text: str) -> tuple[int, ...]:
    """Token ids with commas between them, as argparse reads them."""
    return tuple(int(part) for part in text.split(","))


def print_pieces(pieces: Iterable[str], prompt: str = "") -> None:
    """A text as it is written, after its prompt."""
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


def print_written(found: Sequence[Written]) -> None:
    """Whole texts, prompts first, an empty line between them; ids where there is no text."""
    print("\n\n".join(_shown(written) for written in found))


def _shown(written: Written) -> str:
    if written.text is None:
        return ",".join(map(str, written.tokens))
    return (written.prompt or "") + written.text
