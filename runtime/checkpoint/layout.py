"""How tensors lie in safetensors files: order, header, shards, index.

Order and padding are those of the safetensors library, so that writing the tensors of one of its files
gives the same bytes; shard names and index are those of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.weights.dtypes import ITEMSIZE, SAFETENSORS, count, name_fault, shape_fault
from compiler.weights.readers.files import shown

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"

_NAMES: Final = {dtype: name for name, dtype in SAFETENSORS.items()}
_RANK: Final = {dtype: rank for rank, dtype in enumerate(SAFETENSORS.values())}


@dataclass(frozen=True)
class Entry:
    """A tensor to be written: its key, torch dtype name and shape."""

    key: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The bytes that the tensor takes."""
        return count(self.shape) * ITEMSIZE[self.dtype]


def check_entries(entries: Sequence[Entry]) -> None:
    """Raises CompileError naming every entry that a safetensors file cannot hold."""
    faults = Diagnostics()
    seen: set[str] = set()
    for entry in entries:
        reason = name_fault(entry.key) or shape_fault(entry.shape)
        if entry.dtype not in _NAMES:
            reason = f"safetensors has no element type for {entry.dtype}"
        if entry.key in seen or entry.key == "__metadata__":
            reason = "its key stands twice, or is reserved"
        seen.add(entry.key)
        if reason:
            faults.error("cannot-export", f"tensor `{shown(entry.key)}`: {reason}", None)
    faults.check()


def ordered(entries: Sequence[Entry]) -> list[Entry]:
    """Widest type first, then by key: as the data of one file is laid out."""
    return sorted(entries, key=lambda entry: (_RANK[entry.dtype], entry.key))


def header(entries: Sequence[Entry], metadata: Mapping[str, str]) -> bytes:
    """What stands before the data of a file whose tensors are `entries`, in that order."""
    table: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for entry in entries:
        end = begin + entry.nbytes
        table[entry.key] = {
            "dtype": _NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def shards(entries: Sequence[Entry], limit: int) -> dict[str, list[Entry]]:
    """File name -> its tensors, filled in the given order up to `limit` bytes each (one tensor at least)."""
    groups: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        if groups[-1] and size + entry.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += entry.nbytes
    if len(groups) == 1:
        return {SINGLE: groups[0]}
    total = len(groups)
    return {f"model-{i:05d}-of-{total:05d}.safetensors": group for i, group in enumerate(groups, 1)}


def index(files: Mapping[str, Sequence[Entry]]) -> bytes:
    """The index of sharded files."""
    total = sum(entry.nbytes for group in files.values() for entry in group)
    listed = {entry.key: name for name, group in files.items() for entry in group}
    table = {"metadata": {"total_size": total}, "weight_map": listed}
    return (json.dumps(table, indent=2, sort_keys=True) + "\n").encode("utf-8")
