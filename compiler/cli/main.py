"""The command line: one module per verb; here the exit codes.

0: done. 1: the input is at fault, and nothing was written. 2: the command is. 3: a fault of the compiler.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from compiler.cli import build, check, emit, from_hf, list_specs, schema, show, weights
from compiler.diagnostics.diagnostic import CompileError
from compiler.diagnostics.render import render_json
from compiler.version import VERSION

DONE, INPUT, USAGE, INTERNAL = range(4)
INTERRUPTED, PIPE_CLOSED = 130, 141  # what a shell reports for SIGINT and SIGPIPE
DEBUG_VARIABLE = "BLOCKWRIGHT_DEBUG"
_VERBS = (list_specs, show, check, build, emit, weights, from_hf, schema)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = parser().parse_args(arguments)
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


def parser() -> argparse.ArgumentParser:
    """Every verb with its arguments."""
    top = argparse.ArgumentParser(
        prog="python -m compiler",
        description="Compile model specs to PyTorch.",
        epilog="exit codes: 0 done, 1 the input is at fault, 2 the command is, 3 a fault of the compiler",
    )
    top.add_argument("--version", action="version", version=VERSION)
    top.add_argument(
        "--debug", action="store_true", default=bool(os.environ.get(DEBUG_VARIABLE)), help=argparse.SUPPRESS
    )
    top.set_defaults(json=False)
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for verb in _VERBS:
        verb.declare(verbs)
    return top


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
        "This is a bug of the compiler, whatever the input.\n"
        f"Please report these lines, the command and the spec; {DEBUG_VARIABLE}=1 shows the traceback."
    )
