"""Loading, beside transformers' from_pretrained and beside a plain read of the same bytes.

Each way of reading runs in processes of its own, in turns: `python -m bench.load WAY FOLDER` is one of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

import compiler
import runtime
from bench.table import AT_MOST, Row
from bench.timing import Measured, column, measured, processes, ratio, told

#: Read as it stands; and matrices that are stored the other way round.
IDENTITY, TRANSPOSED = "llama:3.2-1b", "gpt2"


def rows(quick: bool) -> list[Row]:
    """GPT-2 against transformers and against its bytes; 2.5 GB that are mapped."""
    rounds = 3 if quick else 7
    return [*_transforming(rounds), *_mapped(2 if quick else 5)]


def _transforming(rounds: int) -> list[Row]:
    ways = ("ours", "rows", "theirs", "plain")
    found, size = _figures(TRANSPOSED, torch.float32, ways, rounds)
    wall, memory = column(found, "wall"), column(found, "private")
    return [
        Row(
            "load GPT-2, compile included",
            "transformers",
            ratio(wall, "ours", "theirs"),
            AT_MOST,
            1.0,
            told=told(wall, ("ours", "theirs")),
        ),
        Row(
            "load GPT-2: most private memory",
            "transformers",
            (median(memory["ours"]) - median(memory["theirs"])) / 1e6,
            AT_MOST,
            0,
            "MB more",
            told(memory, ("ours", "theirs"), 1e-6, "MB"),
        ),
        Row(
            "load GPT-2, every matrix transposed",
            "a plain read of the bytes",
            ratio(wall, "rows", "plain"),
            AT_MOST,
            1.1,
            told=told(wall, ("rows", "plain")),
        ),
        Row(
            "load GPT-2, every matrix transposed: most private memory",
            "the file",
            median(memory["rows"]) / size,
            AT_MOST,
            1.1,
            told=told(memory, ("rows",), 1e-6, "MB"),
        ),
    ]


def _mapped(rounds: int) -> list[Row]:
    found, size = _figures(IDENTITY, torch.bfloat16, ("ours", "module"), rounds)
    wall, memory = column(found, "wall"), column(found, "private")
    beyond = median(a - b for a, b in zip(wall["ours"], wall["module"], strict=True))
    extra = median(a - b for a, b in zip(memory["ours"], memory["module"], strict=True))
    what = f"load {size / 1e9:.1f} GB that need no change"
    return [
        Row(what, "the module alone", beyond, AT_MOST, 0.1, "s more", told(wall, ("ours", "module"))),
        Row(f"{what}: private memory", "the module alone", extra / 1e6, AT_MOST, 4, "MB more"),
    ]


def _figures(
    spec: str, dtype: torch.dtype, ways: tuple[str, ...], rounds: int
) -> tuple[dict[str, dict[str, list[float]]], int]:
    with TemporaryDirectory() as place:
        folder = Path(place) / "checkpoint"
        runtime.export(runtime.load(spec, weights=None, dtype=dtype), folder)
        size = (folder / "model.safetensors").stat().st_size
        return processes("bench.load", ways, [str(folder)], rounds), size


def ours(folder: Path) -> Measured:
    """As users load; each side's import stands before the clock."""
    load = runtime.load
    return measured(lambda: load(folder))


def contiguous(folder: Path) -> Measured:
    """With every matrix as torch makes it: GPT-2's files hold them the other way round."""
    load = runtime.load
    return measured(lambda: load(folder, layout="rows"))


def module(folder: Path) -> Measured:
    """What a load does before it reads: the compiled module, without values."""
    build = compiler.build
    return measured(lambda: build(folder, device="meta"))


def theirs(folder: Path) -> Measured:
    """As transformers' users do, in the type of the file."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    kind = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
    return measured(lambda: kind.from_pretrained(folder, dtype="auto"))


def plain(folder: Path) -> Measured:
    """The file's bytes into fresh memory, nothing else."""

    def read() -> torch.Tensor:
        file = folder / "model.safetensors"
        fresh = torch.empty(file.stat().st_size, dtype=torch.uint8)
        view, at = fresh.numpy().data, 0
        with file.open("rb", buffering=0) as stream:
            while read := stream.readinto(view[at:]):
                at += read
        return fresh

    return measured(read)


WAYS = {"ours": ours, "rows": contiguous, "module": module, "theirs": theirs, "plain": plain}

if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[1]](Path(sys.argv[2]))))
