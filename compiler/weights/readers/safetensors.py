"""The header of a safetensors file, checked in full before anything else looks at the file.

The format: eight bytes, the little-endian length N of the header; N bytes of JSON, {name: {"dtype", "shape",
"data_offsets": [begin, end]}} with an optional "__metadata__" of strings; then the data, without holes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from compiler.weights.dtypes import ITEMSIZE, SAFETENSORS, count, name_fault, shape_fault
from compiler.weights.header import Extent, Header, TensorInfo
from compiler.weights.readers.files import CheckpointFile, TensorFaults, damaged
from compiler.weights.readers.strict_json import JsonFault, loads

MAX_HEADER: Final = 16 * 2**20
_FIELDS: Final = frozenset({"dtype", "shape", "data_offsets"})


def read_safetensors(path: Path) -> Header:
    """The header of one file. Raises CompileError naming every fault of every tensor."""
    with CheckpointFile(path) as file:
        length = int.from_bytes(file.read(0, 8, "the header's length"), "little")
        if length > MAX_HEADER:
            raise damaged(path, f"its header would be {length} bytes; at most {MAX_HEADER} are read")
        entries = _parse(path, file.read(8, length, "the header"))
        metadata = _metadata(path, entries.pop("__metadata__", {}))
        faults = TensorFaults(path)
        tensors: dict[str, TensorInfo] = {}
        for name, entry in entries.items():
            found = _tensor(path, name, entry, 8 + length)
            if isinstance(found, str):
                faults.add(name, found)
            else:
                tensors[name] = found
        faults.check()
        _check_layout(file, tensors, 8 + length)
    return Header(path, "safetensors", tensors, metadata)


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    try:
        value = loads(data, max_depth=4)
    except JsonFault as fault:
        raise damaged(path, f"its header is not valid: {fault}") from None
    if not isinstance(value, dict) or not data.startswith(b"{"):
        raise damaged(path, "its header is not a JSON object")
    return value


def _metadata(path: Path, value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise damaged(path, "its __metadata__ is not a mapping of text to text")
    return value


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo | str:
    """One entry, or what is wrong with it."""
    if fault := name_fault(name):
        return fault
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        return "its entry is not exactly dtype, shape and data_offsets"
    dtype = SAFETENSORS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        return f"the element type {str(entry['dtype'])[:40]} is not read"
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list):
        return "its shape is not a list"
    if fault := shape_fault(shape):
        return fault
    if not isinstance(offsets, list) or len(offsets) != 2 or any(type(o) is not int for o in offsets):
        return "its data_offsets are not two whole numbers"
    begin, end = offsets
    size = count(shape) * ITEMSIZE[dtype]
    if begin < 0 or end - begin != size:
        given = f"bytes [{str(begin)[:24]}, {str(end)[:24]})"
        return f"{given} cannot hold {dtype} {tuple(shape)}, which is {size} bytes"
    return TensorInfo(name, dtype, tuple(shape), path, Extent(data_start + begin, size))


def _check_layout(file: CheckpointFile, tensors: Mapping[str, TensorInfo], data_start: int) -> None:
    """The tensors tile the data: none overlaps, nothing lies between or behind them."""
    reached, last = data_start, "the header"
    placed = sorted(
        (info.extent.offset, info.extent.offset + info.extent.nbytes, name)
        for name, info in tensors.items()
        if info.extent is not None
    )
    faults = TensorFaults(file.path)
    for begin, end, name in placed:
        if begin < reached:
            faults.add(name, f"its bytes [{begin}, {end}) overlap those of {last}")
        elif begin > reached:
            faults.add(name, f"{begin - reached} bytes between {last} and it belong to nothing")
        reached, last = max(reached, end), f"`{name}`"
    faults.check()
    if reached > file.size:
        raise file.truncated(f"the data (last: {last})", reached)
    if reached < file.size:
        raise damaged(file.path, f"{file.size - reached} bytes behind {last} belong to nothing")
