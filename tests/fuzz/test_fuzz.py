"""No mistake of a user shows a traceback: mutated specs compile, or are refused at a place."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

import compiler
from compiler.diagnostics.diagnostic import CompileError
from compiler.source.paths import packaged
from tests import casefile
from tests.fuzz.mutate import dump, expression, load, mutate, scribble

SECONDS = 8.0
FEWEST = 40  # mutants, however slow the machine is
SPECS = sorted(packaged("specs").glob("*.yaml"))
BLOCKS = sorted(packaged("specs").glob("blocks/*.yaml"))

#: The specs of the cases whose YAML is well formed.
SMALL = [
    c.files[0][1]
    for c in casefile.cases()
    if c.files[0][1].startswith("spec:") and c.path.parent.name != "yaml"
]

#: Faults that concern a whole file, a name on the command line, or a value that stands in no file.
PLACELESS = {"not-found", "unreadable", "usage", "yaml-limit", "wrong-type"}


def accepts_or_refuses(source: Path, settings: dict[str, object]) -> None:
    """Raises whatever the compiler raises beside a CompileError, and what is wrong with one."""
    try:
        compiler.compile(source, set=settings)
    except CompileError as error:
        assert error.diagnostics and str(error)
        for found in error.diagnostics:
            placed = found.span is not None and found.span.line > 0
            assert placed or found.code in PLACELESS, found


def one(folder: Path, seed: int) -> None:
    """One mutated spec: a shipped one with some of the shipped blocks, or that of a case, faulty already."""
    rng = random.Random(seed)
    text = rng.choice(SPECS).read_text(encoding="utf-8")
    blocks = [path.read_text(encoding="utf-8") for path in BLOCKS]
    if rng.random() < 0.4:
        text, blocks = rng.choice(SMALL), []
    if rng.random() < 0.8:
        documents = load(text) + [d for block in blocks for d in load(block) if rng.random() < 0.5]
        mutated = dump(mutate(documents, rng))
    else:
        mutated = scribble(text, rng)
    path = folder / "mutant.yaml"
    path.write_bytes(mutated.encode("utf-8", "surrogatepass"))
    settings: dict[str, object] = {}
    if rng.random() < 0.2:
        names = ("dim", "depth", "rope.base", "rope", "h", "a b", "", "act", "norm.eps", "rope.use")
        settings[rng.choice(names)] = rng.choice(
            (3, "=" + expression(rng, 2), None, [1], {"use": "mlp"}, 1.5, "x")
        )
    accepts_or_refuses(path, settings)


def test_mutants(tmp_path: Path) -> None:
    end = time.monotonic() + SECONDS
    seed = 0
    while seed < FEWEST or time.monotonic() < end:
        try:
            one(tmp_path, seed)
        except Exception as error:  # noqa: BLE001 - any other than the two is the finding
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")
        seed += 1
