"""Arguments that several verbs take, and what they mean."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

NONE: Final = "none"
UNTRAINED: Final = "untrained: the weights are random initial values, so the answer means nothing"


def add_weights(parser: argparse.ArgumentParser) -> None:
    """--weights and --dtype."""
    parser.add_argument(
        "--weights", metavar="PATH", default="default",
        help="a checkpoint's file or folder, or `none` for random ones (default: those that are published)",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="of the weights (default: as in the file)"
    )


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """--dialect and --map: how a checkpoint is read."""
    parser.add_argument("--dialect", help="whose names the checkpoint uses (default: the map that covers it)")
    parser.add_argument("--map", metavar="FILE", help="a weight map of your own, or the name of one")


def weights_of(options: argparse.Namespace) -> str | None:
    """The weights as `runtime.load` takes them; a file that is called none is `./none`."""
    return None if options.weights == NONE else str(options.weights)


def dtype_of(options: argparse.Namespace) -> torch.dtype | None:
    """The dtype of --dtype."""
    import torch

    return getattr(torch, options.dtype) if options.dtype is not None else None


def warn_untrained(options: argparse.Namespace) -> None:
    """Say on stderr that nothing was learned, where that is so."""
    if options.weights == NONE:
        print(f"note: {UNTRAINED}", file=sys.stderr)


def add_top(parser: argparse.ArgumentParser) -> None:
    """--top."""
    parser.add_argument("--top", metavar="N", type=positive, default=5, help="how many answers (default: 5)")


def positive(text: str) -> int:
    """A whole number from 1, as argparse reads it."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def percent(probability: float) -> str:
    """A probability for people: `12.3 %`, or `< 0.1 %`."""
    return f"{100 * probability:.1f} %" if probability >= 0.0005 else "< 0.1 %"
