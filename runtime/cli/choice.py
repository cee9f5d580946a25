"""Arguments of the verbs that write text: how the next token is chosen, and when to stop."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from runtime.cli.arguments import positive

if TYPE_CHECKING:
    from runtime.tasks.generate import Choice

#: Each field of a Choice that is a number: its type, and what it does.
_NUMBERS: Final[dict[str, tuple[Callable[[str], float], str]]] = {
    "max_new_tokens": (positive, "stop after this many tokens"),
    "temperature": (
        float,
        "0: always the likeliest token; 1: by chance, as the model has it; above 1: bolder",
    ),
    "top_k": (positive, "choose among the N likeliest tokens"),
    "top_p": (float, "choose among the likeliest tokens that together have this probability"),
    "min_p": (float, "leave out tokens less likely than this share of the likeliest one"),
    "repetition_penalty": (float, "above 1: avoid tokens that the text has already"),
    "num_beams": (positive, "keep this many continuations and take the likeliest as a whole"),
    "seed": (int, "of the chances, so that they come again"),
}


def add_choice(parser: argparse.ArgumentParser, max_new_tokens: int) -> None:
    """--max-new-tokens, --temperature and the others."""
    group = parser.add_argument_group("choosing the next token")
    for name, (kind, text) in _NUMBERS.items():
        metavar = "N" if kind in (positive, int) else "X"
        default = max_new_tokens if name == "max_new_tokens" else None
        shown = f"{text} (default: {default})" if default is not None else text
        group.add_argument(
            f"--{name.replace('_', '-')}", type=kind, metavar=metavar, default=default, help=shown
        )


def choice_of(options: argparse.Namespace) -> Choice:
    """The values of these arguments; what was left out is as in Python."""
    from dataclasses import replace

    from runtime.tasks.generate import Choice

    given = {name: getattr(options, name) for name in _NUMBERS}
    return replace(Choice(), **{name: value for name, value in given.items() if value is not None})
