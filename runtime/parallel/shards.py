"""Tensors in parts on the disk, by torch.distributed.checkpoint: written by all, read by any number."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from runtime.checkpoint.staging import Staging
from runtime.parallel.world import World


def write_shards(staging: Staging, name: str, tensors: Mapping[str, Tensor], world: World) -> None:
    """Write the parts of tensors that the processes of a world have into the folder `name`.

    Each flushes and hashes some of the files. What is not in parts is written by one of those that have it.
    Raises OSError, on all.
    """
    folder = staging.temporary / name
    world.once(folder.mkdir)
    try:
        save(dict(tensors), storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except CheckpointException as error:
        raise _cause(error) from None
    files = sorted(path.name for path in folder.iterdir())

    def adopt() -> None:
        for file in files[world.rank :: world.size]:
            staging.adopt(f"{name}/{file}")

    world.together(adopt)


class Shards:
    """Tensors of a folder of safetensors files that hold parts of them, or all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Of each the shape and type."""
        found = self._reader().read_metadata().state_dict_metadata
        return {
            key: torch.empty(entry.size, dtype=entry.properties.dtype, device="meta")
            for key, entry in found.items()
            if isinstance(entry, TensorStorageMetadata)
        }

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Each process reads what it has the parts of; all have to ask for the same keys."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process is no mistake
            load(dict(tensors), storage_reader=self._reader(), no_dist=not dist.is_initialized())

    def _reader(self) -> HuggingFaceStorageReader:
        return HuggingFaceStorageReader(str(self._folder))


def _cause(error: CheckpointException) -> BaseException:
    """What the disk said, where it was the disk."""
    faults = [fault for fault, _ in error.failures.values()]
    return next((fault for fault in faults if isinstance(fault, OSError)), error)
