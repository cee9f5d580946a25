"""The model of a task: its arguments, its loading, and how answers are printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from compiler.cli.arguments import add_json, add_optimize, add_source, settings
from compiler.diagnostics.diagnostic import CompileError, fail
from runtime.cli.arguments import NONE, add_checkpoint, add_weights, dtype_of, warn_untrained, weights_of

if TYPE_CHECKING:
    from runtime.tasks.opened import Opened

T = TypeVar("T")
STDIN = "-"


def add_model(parser: argparse.ArgumentParser) -> None:
    """SPEC and what else says which model it is; --json."""
    add_source(parser)
    add_weights(parser)
    add_checkpoint(parser)
    parser.add_argument(
        "--tokenizer", metavar="PATH", type=Path,
        help="the file or folder with the tokens (default: beside the weights)",
    )  # fmt: skip
    add_optimize(parser)
    parser.add_argument(
        "--layout", choices=("decode", "batch", "rows"),
        help="how weights lie in memory: decode is faster for one token at a time, batch for several, "
        "rows is torch's own",
    )  # fmt: skip
    parser.add_argument("--device", help="where to run, as torch names it: cpu, cuda, cuda:1, mps")
    add_json(parser)


def open_for(task: str, options: argparse.Namespace) -> Opened:
    """The model of the options, loaded once it is known to be of the right kind. Raises CompileError."""
    from compiler.pipeline import compile
    from runtime.tasks.abilities import require
    from runtime.tasks.signature import signature_of

    require(signature_of(compile(_here(options.source), set=settings(options))), task)
    import runtime
    from runtime.tasks.opened import open_model

    warn_untrained(options)
    model = runtime.load(
        options.source,
        weights=weights_of(options),
        dialect=options.dialect,
        weightmap=options.map,
        set=settings(options),
        optimize=options.optimize,
        layout=options.layout,
        dtype=dtype_of(options),
        device=options.device,
    )
    return open_model(model, tokenizer=options.tokenizer)


def _here(source: str) -> str | Path:
    """What can be compiled: of a repository its config, so that no weights are fetched for the wrong task."""
    from runtime.hub import Repository

    place = Repository.named(source)
    if place is None:
        return source
    from runtime.files import fetch_config

    return fetch_config(place).parent


def lines_of(given: Sequence[str], what: str) -> list[str]:
    """The inputs of a command; `-` stands for the lines of stdin. Raises CompileError where there is none."""
    found: list[str] = []
    for item in given:
        found += [line for line in sys.stdin.read().splitlines() if line.strip()] if item == STDIN else [item]
    if not found:
        raise fail("usage", f"no {what} was given", None, help=f"{STDIN} reads one per line from stdin")
    return found


def print_json(options: argparse.Namespace, opened: Opened, results: Iterable[Any]) -> None:
    """The answers for scripts, with the model they are of and whether it has learned anything."""
    untrained = options.weights == NONE
    data = {"model": opened.signature.name, "untrained": untrained, "results": list(results)}
    print(json.dumps(data, indent=2, ensure_ascii=False, default=asdict))


def read_stdin() -> str:
    """The one text on stdin, without the end of its last line."""
    return sys.stdin.read().removesuffix("\n")


def in_batches(items: Sequence[T], size: int, label: str) -> Iterator[Sequence[T]]:
    """The items, `size` at a time; how far it is on stderr, where that is a terminal and there is more."""
    from runtime.tasks.opened import batches

    shown = len(items) > size and sys.stderr.isatty()
    done = 0
    for batch in batches(items, size):
        if shown:
            print(f"\r{label} {done}/{len(items)}", end="", file=sys.stderr, flush=True)
        yield batch
        done += len(batch)
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def need_tokenizer(opened: Opened, instead: str = "") -> None:
    """Load the tokenizer. instead: what goes without one. Raises CompileError, which names the option."""
    try:
        opened.tokenizer  # noqa: B018 - loaded at its first use
    except CompileError as error:
        cure = "pass the file or folder that holds it: --tokenizer PATH" + instead
        raise CompileError(tuple(replace(d, help=d.help and cure) for d in error.diagnostics)) from None


def mark(options: argparse.Namespace, opened: Opened) -> str:
    """What a picture says of the model that it is of."""
    return f"{opened.signature.name}, untrained" if options.weights == NONE else opened.signature.name
