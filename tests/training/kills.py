"""A process that writes generations is killed at random moments; what is left must be one of its states.

python -m tests.training.kills [--points 200] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file as read_tensors
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from runtime.training import generations
from runtime.training.state import Progress, State

KEEP = 2


def state(step: int) -> State:
    """A state of which every number is the step."""
    model = nn.Sequential(nn.Linear(40, 50), nn.Linear(50, 60))
    optimizer = SGD(model.parameters(), lr=1.0, momentum=0.5)
    for parameter in model.parameters():
        parameter.data.fill_(step)
        optimizer.state[parameter]["momentum_buffer"] = torch.full_like(parameter, step)
    return State(model, optimizer, LambdaLR(optimizer, lambda n: 1.0), Progress(step=step))


def save(run: Path, step: int) -> None:
    """What the loop does at a checkpoint."""
    found = state(step)
    generations.commit(run, "last", step, found.nbytes(), found.write)
    generations.prune(run, "last", KEEP)


def write_forever(run: Path, first: int, told: int) -> None:
    """Save step after step, and tell each that stands through a pipe."""
    step = first
    while True:
        save(run, step)
        os.write(told, step.to_bytes(4, "little"))
        step += 1


def killed_once(run: Path, first: int, delay: float) -> int:
    """Fork a writer, kill it; the last step that it told of, or first - 1."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_forever(run, first, writer)
        finally:
            os._exit(1)
    os.close(writer)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    return int.from_bytes(told[-4:], "little") if told else first - 1


def judge(run: Path, told: int) -> int:
    """The step that a reader finds. AssertionError where it is a mixture, or older than what was told."""
    found, damaged = generations.newest(run, "last")
    assert damaged == [], f"a generation stands that is not whole: {damaged}"
    if found is None:
        assert told == 0, f"step {told} was saved and is gone"
        return 0
    assert found.step >= told, f"step {told} was saved, {found.step} is found"
    for name in ("model.safetensors", "state.safetensors"):
        for key, tensor in read_tensors(found.path / name).items():
            assert key.startswith("rng/") or bool((tensor == found.step).all()), f"{key} is of another step"
    again = state(0)
    again.read(found.path)
    assert again.progress.step == found.step
    assert (run / "last").resolve().is_dir() or told == 0, "the link points nowhere"
    return found.step


def kill_at_random(run: Path, points: int, seed: int) -> None:
    """Kill writers of one run at random moments, each going on from what the one before left."""
    chance = random.Random(seed)
    save(run, 1)  # the first takes longer
    began = time.perf_counter()
    save(run, 2)
    once = time.perf_counter() - began
    step = 2
    for _ in range(points):
        told = killed_once(run, step + 1, chance.uniform(0, 4 * once))
        step = judge(run, max(told, step))
    save(run, step + 1)
    left = sorted(path.name for path in (run / generations.FOLDER).iterdir())
    assert len(left) == KEEP, f"more is left than {KEEP} generations: {left}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        kill_at_random(folder, options.points, options.seed)
    finally:
        shutil.rmtree(folder)
    print(f"{options.points} kills, seed {options.seed}: every time the old state or the new one")


if __name__ == "__main__":
    main()
