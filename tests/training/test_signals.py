"""SIGTERM and Ctrl-C: the step is finished, its state saved, the exit code what a shell expects."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file as read_tensors

from runtime.training.run import train
from tests.training.recipes import write

SETTINGS = {"train.steps": 60, "checkpoint.every": 1000, "evaluate.every": 1000}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_told_to_stop(number: signal.Signals, code: int, tmp_path: Path) -> None:
    recipe = write(tmp_path)
    command = [sys.executable, "-m", "runtime", "train", str(recipe), "--out", str(tmp_path / "cut")]
    command += [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "cut" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") > 3):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert f"stopped by {number.name} after step" in error
    if number == signal.SIGINT:
        return
    train(recipe, tmp_path / "cut", set=SETTINGS, resume=True, log=io.StringIO())
    train(recipe, tmp_path / "whole", set=SETTINGS, log=io.StringIO())
    for name in ("model.safetensors", "state.safetensors"):
        cut, whole = (read_tensors(tmp_path / run / "last" / name) for run in ("cut", "whole"))
        assert all(torch.equal(cut[key], whole[key]) for key in whole)
