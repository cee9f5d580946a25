"""The tensors of a generation: two files where one process wrote them, a file for each where more did.

    model.safetensors, state.safetensors     of one process: each tensor whole
    shards/*.safetensors                     of several: torch's distributed checkpoint, each tensor in parts

Either is read by any number of processes. Both are safetensors: a state is data, never a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from torch import Tensor

from compiler.weights.readers import read_header
from runtime.checkpoint.layout import check_entries
from runtime.checkpoint.reader import open_checkpoint
from runtime.checkpoint.staging import Staging
from runtime.checkpoint.writer import TensorStream, file_chunks
from runtime.parallel.world import World

WEIGHTS: Final = "model.safetensors"
STATE: Final = "state.safetensors"
SHARDS: Final = "shards"


class Saved(Protocol):
    """The tensors of a generation. tensors: what is whole, by key; only shape and type of it may be there."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """By key."""
        ...

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the saved tensors into those of the same keys, or into the parts of them that are here.
        KeyError for a key that was not saved.
        """
        ...


@dataclass(frozen=True)
class Whole:
    """What one process wrote, read by one."""

    tensors: Mapping[str, Tensor]

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Each as it was."""
        for key, tensor in tensors.items():
            tensor.copy_(self.tensors[key])


def write_saved(
    staging: Staging, weights: Mapping[str, Tensor], state: Mapping[str, Tensor], world: World
) -> None:
    """Put the tensors of a model and of what trains it into a generation."""
    if world.size == 1:
        write_tensors(staging, WEIGHTS, weights)
        write_tensors(staging, STATE, state)
        return
    from runtime.parallel.shards import write_shards

    write_shards(staging, SHARDS, {**weights, **state}, world)


def open_saved(folder: Path, world: World) -> Saved:
    """The tensors of a generation."""
    in_shards = (folder / SHARDS).is_dir()
    if not in_shards and world.size == 1:
        return Whole({**_mapped(folder / WEIGHTS), **_mapped(folder / STATE)})
    from runtime.parallel.shards import Shards

    return Shards(folder / SHARDS if in_shards else folder)


def write_tensors(staging: Staging, name: str, tensors: Mapping[str, Tensor]) -> None:
    """One safetensors file of a generation."""
    stream = TensorStream.of(tensors)
    check_entries(stream.entries)
    staging.write(name, file_chunks(stream.entries, stream))


def _mapped(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, read when they are."""
    checkpoint = open_checkpoint(read_header(path))
    return {key: checkpoint.tensor(key) for key in checkpoint.header.tensors}
