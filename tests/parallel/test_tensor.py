"""Two processes that share every layer compute what one computes: outputs, loss and each gradient."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch

from compiler.parallel.memory import Mesh, Training
from compiler.parallel.memory import load as load_of
from compiler.parallel.placement import place
from compiler.pipeline import program, typed_graph
from tests.emission.models import TRAINED
from tests.parallel.worker import CASES, RANKS, built, measured

#: Of float64, whose rounding is 1e-16.
CLOSE = 1e-12


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which both processes left what they found."""
    return run("tests.parallel.worker", tmp_path_factory.mktemp("ranks"))


def run(module: str, folder: Path) -> Path:
    """Run a module as two processes that know each other."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(rank), str(folder)],
            env=environment, cwd=root, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(RANKS)
    ]  # fmt: skip
    for process in processes:
        _, said = process.communicate(timeout=1200)
        assert process.returncode == 0, said
    return folder


def load(folder: Path, name: str, rank: int) -> Mapping[str, Any]:
    found: Mapping[str, Any] = torch.load(folder / f"{name}-{rank}.pt")
    return found


@pytest.mark.parametrize("name", CASES)
def test_equals_one_process(name: str, ran: Path) -> None:
    want = measured(built(CASES[name], "views"), CASES[name])
    largest = max(value.abs().max() for key, value in want.items() if key.startswith("gradient"))
    for rank in range(RANKS):
        found = load(ran, name, rank)["found"]
        assert found.keys() == want.keys()
        for key, value in want.items():
            # keys' biases have no gradient but rounding: all gradients have one scale
            scale = largest if key.startswith("gradient") else value.abs().max()
            assert (found[key] - value).abs().max() <= CLOSE * scale, key


def test_weights_are_cut(ran: Path) -> None:
    """Each rank holds its part: rows, columns, whole; of 61 rows of a table the first one more."""
    first, second = (load(ran, "llama", rank)["local"] for rank in range(RANKS))
    assert first["h.0.attn.q.weight"] == second["h.0.attn.q.weight"] == (12, 24)
    assert first["h.1.attn.k.weight"] == (6, 24)
    assert first["h.0.attn.o.weight"] == (24, 12)
    assert first["norm.weight"] == (24,)
    assert (first["embed.weight"], second["embed.weight"]) == ((31, 24), (30, 24))
    assert load(ran, "t5", 0)["local"]["e_bias.table.weight"] == (8, 2)
    partly = load(ran, "llama_partly", 0)["local"]
    assert partly["h.0.mlp.gate.weight"] == partly["h.0.mlp.up.weight"] == (40, 24)
    assert partly["h.0.attn.q.weight"] == (12, 24)


@pytest.mark.parametrize("name", CASES)
def test_bytes_are_those_that_the_plan_counts(name: str, ran: Path) -> None:
    case = CASES[name]
    graph = typed_graph(case.source, set=case.set)
    planned = place(graph, tp=RANKS, plan=case.plan)
    training = Training(lambda name: True, 0)
    counted = load_of(program(graph).stored, planned, Mesh(1, RANKS), training).total.parameters
    assert counted == 4 * sum(prod(shape) for shape in load(ran, name, 0)["local"].values())


@pytest.mark.parametrize("name", CASES)
def test_what_is_frozen_stays_frozen(name: str, ran: Path) -> None:
    assert load(ran, name, 0)["trained"] == []


def test_no_cache(ran: Path) -> None:
    assert "loaded whole" in load(ran, "llama", 0)["cache"]


@pytest.mark.long
def test_every_spec(tmp_path: Path) -> None:
    folder = run("tests.parallel.every", tmp_path)
    for case in TRAINED:
        for rank in range(RANKS):
            assert load(folder, case.name, rank)["worst"] <= CLOSE, case.name
