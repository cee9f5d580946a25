"""Streaming tensors into safetensors files, one tensor in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch

from compiler.weights.readers.folder import name_reason
from runtime.checkpoint import layout
from runtime.checkpoint.dtypes import name_of
from runtime.checkpoint.layout import Entry
from runtime.checkpoint.staging import SUMS, staged

MAX_SHARD_BYTES: Final = 5 * 10**9
_FORMAT: Final[Mapping[str, str]] = MappingProxyType(
    {"format": "pt"}
)  # transformers reads no file without it


@dataclass(frozen=True)
class TensorStream:
    """Tensors to write: what they are beforehand, and a function that gives each when its turn comes.

    The order of `entries` decides which shard holds which; `fetch` is called once per key, in file order.
    """

    entries: Sequence[Entry]
    fetch: Callable[[str], torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=lambda: _FORMAT)

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] = _FORMAT) -> TensorStream:
        """Tensors that exist already."""
        entries = [Entry(key, name_of(value.dtype), tuple(value.shape)) for key, value in tensors.items()]
        return cls(entries, tensors.__getitem__, metadata)


def write_safetensors(
    folder: Path,
    tensors: TensorStream,
    *,
    extra: Mapping[str, bytes] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    force: bool = False,
) -> tuple[Path, ...]:
    """Write `model.safetensors`, or shards and their index beyond `max_shard_bytes`; returns the files.

    `extra` holds small files that belong to the weights, such as config.json, and appears together with them.
    The folder may be the very one that the tensors are mapped from: the old file lives on under the mapping.
    Raises CompileError, with the folder as it was, when a tensor cannot be stored, a file that this did not
    write stands in the way (unless `force`), or the disk is full. Memory: the largest non-contiguous tensor.
    """
    small = dict(extra or {})
    assert not any(name_reason(part) for name in small for part in name.split("/"))
    assert not small.keys() & {SUMS, layout.SINGLE, layout.INDEX}
    layout.check_entries(tensors.entries)
    files = layout.shards(tensors.entries, max_shard_bytes)
    if len(files) > 1:
        small[layout.INDEX] = layout.index(files)
    size = sum(entry.nbytes for entry in tensors.entries) + sum(map(len, small.values()))
    with staged(folder, [*small, *files], size, force=force) as staging:
        for name, data in small.items():
            staging.write(name, [data])
        for name, entries in files.items():
            staging.write(name, file_chunks(entries, tensors))
        staging.commit()
    return tuple(folder / name for name in (*files, *small))


def file_chunks(entries: Sequence[Entry], tensors: TensorStream) -> Iterator[bytes | memoryview]:
    """The bytes of one safetensors file that holds some of a stream's tensors."""
    entries = layout.ordered(entries)
    yield layout.header(entries, tensors.metadata)
    for entry in entries:
        yield _bytes(entry, tensors.fetch(entry.key))


def _bytes(entry: Entry, tensor: torch.Tensor) -> memoryview:
    """The row-major bytes of a tensor: a view of its memory where it is contiguous, else of a copy."""
    given = (name_of(tensor.dtype), tuple(tensor.shape))
    assert given == (entry.dtype, entry.shape), f"{entry.key}: announced {entry}, given {given}"
    if not entry.nbytes:
        return memoryview(b"")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    data: memoryview = plain.reshape(-1).view(torch.uint8).numpy().data
    return data
