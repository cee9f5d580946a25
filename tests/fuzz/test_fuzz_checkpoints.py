"""No checkpoint, config or weight map, however damaged, shows a traceback: it loads, or is refused."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import compiler
import runtime
from compiler.diagnostics.diagnostic import CompileError
from compiler.source.paths import packaged
from compiler.weights.config import recognise
from compiler.weights.library import Library
from compiler.weights.plan import plan
from compiler.weights.readers import read_header
from tests.fuzz.mutate import dump, load, mutate, scribble

SECONDS = 3.0
FEWEST = 30  # mutants, however slow the machine is
SMALL = {"vocab": 11, "context": 6, "dim": 6, "depth": 2, "heads": 2}
LIBRARY = Library.standard()
TABLE = compiler.compile("gpt2", set=SMALL).table


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    model = compiler.build("gpt2", set=SMALL)
    runtime.export(model, folder, to="hf")
    torch.save(model.state_dict(), folder / "weights.bin")
    return folder


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A copy with bytes changed, most of them where headers and directories stand."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        size = len(out)
        at = rng.choice(
            (rng.randrange(min(size, 999)), size - 1 - rng.randrange(min(size, 999)), rng.randrange(size))
        )
        width = rng.choice((0, 1, 8))
        number = rng.choice((0, 1, 2**31, 2**40, 2**63, 2**64 - 1)).to_bytes(8, "little")
        out[at : at + width] = rng.choice((b"", bytes([rng.randrange(256)]), number, out[at : at + 40]))
        if rng.random() < 0.1 or not out:
            del out[max(1, at) :]
    return bytes(out)


def of_map(folder: Path, checkpoint: Path, rng: random.Random) -> None:
    text = rng.choice(sorted(packaged("weightmaps").glob("gpt*.yaml"))).read_text(encoding="utf-8")
    mutated = dump(mutate(load(text), rng)) if rng.random() < 0.7 else scribble(text, rng)
    (folder / "mutant.hf.yaml").write_bytes(mutated.encode("utf-8", "surrogatepass"))
    found = LIBRARY.load(folder / "mutant.hf.yaml")
    plan(found, TABLE, read_header(checkpoint, found.unwrap))


def of_config(folder: Path, checkpoint: Path, rng: random.Random) -> None:
    text = (checkpoint / "config.json").read_text(encoding="utf-8")
    mutated = json.dumps(mutate([json.loads(text)], rng)[0]) if rng.random() < 0.8 else scribble(text, rng)
    (folder / "config.json").write_bytes(mutated.encode("utf-8", "surrogatepass"))
    found = recognise(folder, LIBRARY)
    compiler.compile(found.spec, set=found.set)


def of_file(name: str) -> Callable[[Path, Path, random.Random], None]:
    def one(folder: Path, checkpoint: Path, rng: random.Random) -> None:
        (folder / name).write_bytes(damaged((checkpoint / name).read_bytes(), rng))
        runtime.load("gpt2", weights=folder / name, set=SMALL)

    return one


KINDS: dict[str, Callable[[Path, Path, random.Random], Any]] = {
    "map": of_map,
    "config": of_config,
    "safetensors": of_file("model.safetensors"),
    "archive": of_file("weights.bin"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_mutants(kind: str, tmp_path: Path, checkpoint: Path) -> None:
    end = time.monotonic() + SECONDS
    seed = 0
    while seed < FEWEST or time.monotonic() < end:
        try:
            KINDS[kind](tmp_path, checkpoint, random.Random(seed))
        except CompileError as error:
            assert error.diagnostics and str(error), seed
        except Exception as error:  # noqa: BLE001 - any other is the finding
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")
        seed += 1
