"""`python -m bench [NAME ...]`: the table, each group of rows measured in a process of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

GROUPS = ("compile", "load", "start", "forward", "decode", "perplexity", "step", "save", "data")


def main() -> int:
    """0: every bar is kept; 1: one is not."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Speed and memory beside the peers, as ratios in one run."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"groups of rows: {', '.join(GROUPS)} (default: all)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds and tokens: minutes, and more noise"
    )
    parser.add_argument("--threads", type=int, default=0, help="of torch (default: its own choice)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows as data, too")
    parser.add_argument("--rows", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in GROUPS]
    if unknown:
        parser.error(f"no group is called {unknown[0]}; there are {', '.join(GROUPS)}")
    if options.rows:
        return _measure(options)
    return _report(options)


def _measure(options: argparse.Namespace) -> int:
    """One group in this process; its rows go to stdout as data."""
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    (name,) = options.names
    rows = import_module(f"bench.{name}").rows(options.quick)
    print(json.dumps({"threads": torch.get_num_threads(), "rows": [vars(row) for row in rows]}))
    return 0


def _report(options: argparse.Namespace) -> int:
    from bench.table import Row, as_json, markdown

    rows: list[Row] = []
    threads = 0
    for name in options.names or GROUPS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "bench", name, "--rows", "--threads", str(options.threads)]
        done = subprocess.run(
            [*command, *(["--quick"] if options.quick else [])], stdout=subprocess.PIPE, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        threads = found["threads"]
        rows += [Row(**row) for row in found["rows"]]
    print(markdown(rows, threads))
    if options.json is not None:
        options.json.write_text(as_json(rows, threads), encoding="utf-8")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
