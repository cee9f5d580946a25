"""SIGTERM and Ctrl-C: the step is finished, its state saved, the exit code what a shell expects."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file as read_tensors

from compiler import CompileError
from runtime.training.batches import training_batches
from runtime.training.folder import locked
from runtime.training.generations import newest
from runtime.training.order import Epochs
from runtime.training.recipe import read_recipe
from runtime.training.run import train
from tests.training.recipes import write

SETTINGS: dict[str, Any] = {"train.steps": 60, "checkpoint.every": 1000, "evaluate.every": 1000}


def started(recipe: Path, out: Path) -> subprocess.Popen[str]:
    """The command, in a group of its own, after a few steps."""
    command = [sys.executable, "-m", "runtime", "train", str(recipe), "--out", str(out)]
    command += [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    metrics = out / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") > 3):
        assert process.poll() is None
        time.sleep(0.005)
    return process


def stopped(recipe: Path, out: Path, number: signal.Signals, send: Callable[[int, int], None]) -> None:
    """Run the command and send it a signal after a few steps."""
    process = started(recipe, out)
    send(process.pid, number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number, error
    assert f"stopped by {number.name} after step" in error


def test_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is killed, and not a moment longer, though it has others that read for it."""
    for name, value in {"train.steps": 300, "train.workers": 2}.items():
        monkeypatch.setitem(SETTINGS, name, value)
    recipe, out = write(tmp_path), tmp_path / "run"
    process = started(recipe, out)
    os.kill(process.pid, signal.SIGSTOP)  # it lives, and is not done before the other has come to it
    written = (out / "metrics.jsonl").read_bytes()
    try:
        with pytest.raises(CompileError, match=f"another process trains in `{out}`"):
            train(recipe, out, set=SETTINGS, resume=True, log=io.StringIO())
        assert (out / "metrics.jsonl").read_bytes() == written
    finally:
        process.kill()
        process.wait()
    with locked(out):
        pass


def test_a_group_with_workers_that_is_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd, srun and torchrun do it."""
    monkeypatch.setitem(SETTINGS, "train.workers", 2)
    stopped(write(tmp_path), tmp_path / "cut", signal.SIGTERM, os.killpg)
    found, damaged = newest(tmp_path / "cut", "last")
    assert found is not None and found.step > 3 and not damaged


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_reads_on(number: signal.Signals, tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path))
    assert recipe.tokenizer is not None
    data = recipe.data.read(recipe.tokenizer.start())
    epochs = Epochs(len(data.train), 3, 2)
    others = set(active_children())  # of other tests
    alone, helped = (training_batches(data, epochs, 2, 0, workers) for workers in (0, 1))
    for _ in range(8):  # more than it reads ahead
        assert torch.equal(next(helped)["tokens"], next(alone)["tokens"])
        [worker] = set(active_children()) - others
        assert worker.pid is not None
        os.kill(worker.pid, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_stop(number: signal.Signals, tmp_path: Path) -> None:
    recipe = write(tmp_path)
    stopped(recipe, tmp_path / "cut", number, os.kill)
    if number == signal.SIGINT:
        return
    train(recipe, tmp_path / "cut", set=SETTINGS, resume=True, log=io.StringIO())
    train(recipe, tmp_path / "whole", set=SETTINGS, log=io.StringIO())
    for name in ("model.safetensors", "state.safetensors"):
        cut, whole = (read_tensors(tmp_path / run / "last" / name) for run in ("cut", "whole"))
        assert all(torch.equal(cut[key], whole[key]) for key in whole)
