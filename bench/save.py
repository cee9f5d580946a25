"""Saving a training's state, beside safetensors' own save_file of the same tensors in one file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

import compiler
from bench.table import AT_MOST, Row
from bench.timing import interleaved, ratio, told
from runtime.training import generations
from runtime.training.state import Progress, State


def rows(quick: bool) -> list[Row]:
    """GPT-2 124M and its AdamW, 1.5 GB, in a folder beside this one: on its disk."""
    state = _state()
    with TemporaryDirectory(dir=Path.cwd()) as place:
        ways = {
            "generation": _generation(state, Path(place)),
            "flushed": _file(state, Path(place), flush=True),
            "safetensors": _file(state, Path(place), flush=False),
        }
        times = interleaved(ways, 3 if quick else 9, lambda: _room(2 * state.nbytes()))
    what = f"save {state.nbytes() / 1e9:.1f} GB, hashed and flushed"
    flushed, bare = ratio(times, "generation", "flushed"), ratio(times, "generation", "safetensors")
    return [
        Row(
            what, "safetensors and fsync", flushed, AT_MOST, 1.5, told=told(times, ("generation", "flushed"))
        ),
        Row(what, "safetensors, not flushed", bare, AT_MOST, 1.5, told=told(times, ("safetensors",))),
    ]


def _state() -> State:
    """As it is after a step."""
    model = compiler.build("gpt2")
    optimizer = AdamW(model.parameters(), fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return State(model, optimizer, LambdaLR(optimizer, lambda step: 1.0), Progress(step=1))


def _room(size: int) -> None:
    """Have and give back so much memory, so that either side finds room for the pages of its files.

    A virtual machine that has just given memory back to its host takes longer to write a file into
    new memory than into what it kept, which would be measured in place of the saving.
    """
    torch.ones(size, dtype=torch.uint8)


def _generation(state: State, place: Path) -> Callable[[], None]:
    """What the loop does at a checkpoint, the older generation's removal included."""

    def save() -> None:
        state.progress.step += 1
        generations.commit(place, "last", state.progress.step, state.nbytes(), state.write)
        generations.prune(place, "last", 1)

    return save


def _file(state: State, place: Path, *, flush: bool) -> Callable[[], None]:
    """The same tensors in one file, which replaces the older one."""
    tensors = {f"model/{name}": tensor for name, tensor in state.model.state_dict().items()}
    for index, entry in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": tensor for name, tensor in entry.items()}

    def save() -> None:
        new, path = place / f"new-{flush}.safetensors", place / f"{flush}.safetensors"
        save_file(tensors, new)
        if flush:
            descriptor = os.open(new, os.O_RDWR)
            os.fsync(descriptor)
            os.close(descriptor)
        os.replace(new, path)

    return save
