"""The command lines: `python -m runtime`, and the console script, which has the compiler's verbs, too."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.cli import main as compiler_cli
from compiler.cli.process import Verb, make_parser, run_command
from runtime.cli import (
    chat,
    classify,
    embed,
    eval,
    export,
    fill_mask,
    generate,
    plan,
    reconstruct,
    train,
    transcribe,
    translate,
    verify,
    zero_shot,
)

TEXTS: tuple[Verb, ...] = (generate, chat, fill_mask, embed, classify, translate)
VERBS = (*TEXTS, zero_shot, reconstruct, transcribe, train, eval, export, plan, verify)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m runtime`; the exit code."""
    return run_command(make_parser("python -m runtime", "Run compiled models.", VERBS), arguments)


def console(arguments: Sequence[str] | None = None) -> int:
    """`blockwright`; the exit code."""
    description = "Compile model specs to PyTorch, and run what was compiled."
    verbs = (*compiler_cli.VERBS, *VERBS)
    return run_command(make_parser("blockwright", description, verbs), arguments)
