"""The command line `python -m compiler`: one module per verb."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.cli import build, check, emit, from_hf, list_specs, schema, show, weights
from compiler.cli.process import make_parser, run_command

VERBS = (list_specs, show, check, build, emit, weights, from_hf, schema)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    return run_command(make_parser("python -m compiler", "Compile model specs to PyTorch.", VERBS), arguments)
