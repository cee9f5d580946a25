"""Arguments that several verbs take."""

from __future__ import annotations

import argparse
from typing import Any, TypeAlias

from compiler.passes.optimize import OPTIMIZATIONS
from compiler.passes.overrides import parse_settings

SOURCE = "a spec's name (gpt2), a variant (gpt2:xl), the path of a spec, or a checkpoint folder or file"
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_verb(verbs: Verbs, name: str, help: str) -> argparse.ArgumentParser:
    """A verb whose help line is also its description."""
    return verbs.add_parser(name, help=help, description=help[:1].upper() + help[1:] + ".")


def add_source(parser: argparse.ArgumentParser) -> None:
    """SPEC and --set."""
    parser.add_argument("source", metavar="SPEC", help=SOURCE)
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--set, as often as wanted."""
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="set a param: heads=8, rope.base=1e6; repeatable",
    )


def add_optimize(parser: argparse.ArgumentParser) -> None:
    """--optimize, as often as wanted."""
    parser.add_argument(
        "--optimize",
        metavar="PASS",
        action="append",
        default=[],
        help=f"run a pass that buys speed ({', '.join(OPTIMIZATIONS)}); repeatable",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print data for scripts")


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The values of --set. Raises CompileError."""
    return parse_settings(options.set)
