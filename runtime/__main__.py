"""`python -m runtime`: what one does with a compiled model."""

from __future__ import annotations

import argparse
import sys

from compiler.diagnostics.diagnostic import CompileError


def main(arguments: list[str] | None = None) -> int:
    """0: done; 1: the user's input is at fault; 2: usage."""
    parser = argparse.ArgumentParser(prog="python -m runtime", description="Run compiled models.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser(
        "verify", help="the plan of a checkpoint, and a hash of every tensor round-tripped"
    )
    check.add_argument("source", help="a spec's name or path, or a checkpoint folder or file")
    check.add_argument("--weights", default="default", help="the checkpoint, where `source` is a spec")
    check.add_argument("--dialect", help="whose names the checkpoint uses")
    check.add_argument("--map", help="a weight map file of your own")
    options = parser.parse_args(arguments)
    try:
        return _verify(options)
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1


def _verify(options: argparse.Namespace) -> int:
    from runtime.verify import verify

    found = verify(options.source, weights=options.weights, dialect=options.dialect, weightmap=options.map)
    print(found.summary)
    if not found.compared:
        print("read-only dialect: nothing to write back")
    elif found.lost:
        print(
            f"{len(found.lost)} of {found.compared} tensors changed: {', '.join(found.lost)}", file=sys.stderr
        )
        return 1
    else:
        print(f"all {found.compared} tensors come back bit for bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
