"""A command as a process: what becomes of faults, and the exit codes.

0: done. 1: the input is at fault, and nothing was written. 2: the command is. 3: a fault of this project.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Protocol

from compiler.cli.arguments import Verbs
from compiler.diagnostics.diagnostic import CompileError
from compiler.diagnostics.render import render_json
from compiler.version import VERSION

DONE, INPUT, USAGE, INTERNAL = range(4)
INTERRUPTED, PIPE_CLOSED = 130, 141  # what a shell reports for SIGINT and SIGPIPE
DEBUG_VARIABLE = "BLOCKWRIGHT_DEBUG"


class Verb(Protocol):
    """A module of a verb: its arguments set `run`."""

    def declare(self, verbs: Verbs, /) -> None:
        """Add the verb and its arguments."""


class _VerbParser(argparse.ArgumentParser):
    """Takes its inputs before, between and behind its options; argparse by itself wants them in one piece."""

    _sorted = False

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse does, options first."""
        if self._sorted:
            return super().parse_known_args(args, namespace)
        self._sorted = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        except TypeError:  # it has verbs of its own, which decide what follows
            return super().parse_known_args(args, namespace)
        finally:
            self._sorted = False


def make_parser(prog: str, description: str, verbs: Iterable[Verb]) -> argparse.ArgumentParser:
    """A command with its verbs."""
    top = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog="exit codes: 0 done, 1 the input is at fault, 2 the command is, 3 a fault of blockwright",
    )
    top.add_argument("--version", action="version", version=VERSION)
    top.add_argument(
        "--debug", action="store_true", default=bool(os.environ.get(DEBUG_VARIABLE)), help=argparse.SUPPRESS
    )
    top.set_defaults(json=False)
    kind: type[argparse.ArgumentParser] = _VerbParser
    known = top.add_subparsers(metavar="VERB", required=True, parser_class=kind)
    for verb in verbs:
        verb.declare(known)
    return top


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Run one command; the exit code."""
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except CompileError as error:
        print(render_json(error.diagnostics) if options.json else error, file=sys.stderr)
        return USAGE if all(d.code == "usage" for d in error.diagnostics) else INPUT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush is quiet, too
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever is left is a bug of ours, and told as one
        print(_internal(error, options.debug), file=sys.stderr)
        return INTERNAL
    return code


def _internal(error: Exception, debug: bool) -> str:
    """What to report of a fault of ours."""
    if debug:
        return "".join(traceback.format_exception(error)).rstrip()
    frames = traceback.extract_tb(error.__traceback__)
    place = (
        f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno} in {frames[-1].name}" if frames else "?"
    )
    return (
        f"internal error: {type(error).__name__}: {error}\n"
        f"at {place}, version {VERSION}, Python {sys.version.split()[0]}\n"
        "This is a bug of blockwright, whatever the input.\n"
        f"Please report these lines, the command and the spec; {DEBUG_VARIABLE}=1 shows the traceback."
    )
