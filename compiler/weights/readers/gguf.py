"""The header of a GGUF file (versions 2 and 3, little-endian): metadata and where each tensor stands.

Read here rather than with the gguf library, whose reader trusts counts and lengths; the library is needed
only to dequantise, when tensors are read. Shapes are given row-major (GGUF stores them reversed).
Format: ggml/docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from compiler.weights.dtypes import count, name_fault, shape_fault
from compiler.weights.header import Extent, Header, TensorInfo
from compiler.weights.readers.files import CheckpointFile, TensorFaults, damaged, shown

MAX_ITEMS: Final = 4_000_000  # of one array; vocabularies and merge lists hold less than a million
MAX_TENSORS: Final = 1_000_000
BLOCK: Final = 1 << 18  # bytes read at once

_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final[Mapping[int, str]] = MappingProxyType(
    {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
)

_LAYOUTS: Final = MappingProxyType({kind: struct.Struct("<" + kind) for kind in _SCALARS.values()})

#: id -> (block format, or "" for plain elements; torch dtype; elements per block; bytes per block)
_TYPES: Final[Mapping[int, tuple[str, str, int, int]]] = MappingProxyType(
    {
        0: ("", "float32", 1, 4),
        1: ("", "float16", 1, 2),
        24: ("", "int8", 1, 1),
        25: ("", "int16", 1, 2),
        26: ("", "int32", 1, 4),
        27: ("", "int64", 1, 8),
        28: ("", "float64", 1, 8),
        30: ("", "bfloat16", 1, 2),
        2: ("Q4_0", "float32", 32, 18),
        3: ("Q4_1", "float32", 32, 20),
        6: ("Q5_0", "float32", 32, 22),
        7: ("Q5_1", "float32", 32, 24),
        8: ("Q8_0", "float32", 32, 34),
        10: ("Q2_K", "float32", 256, 84),
        11: ("Q3_K", "float32", 256, 110),
        12: ("Q4_K", "float32", 256, 144),
        13: ("Q5_K", "float32", 256, 176),
        14: ("Q6_K", "float32", 256, 210),
        16: ("IQ2_XXS", "float32", 256, 66),
        17: ("IQ2_XS", "float32", 256, 74),
        18: ("IQ3_XXS", "float32", 256, 98),
        19: ("IQ1_S", "float32", 256, 50),
        20: ("IQ4_NL", "float32", 32, 18),
        21: ("IQ3_S", "float32", 256, 110),
        22: ("IQ2_S", "float32", 256, 82),
        23: ("IQ4_XS", "float32", 256, 136),
        29: ("IQ1_M", "float32", 256, 56),
        34: ("TQ1_0", "float32", 256, 54),
        35: ("TQ2_0", "float32", 256, 66),
        39: ("MXFP4", "float32", 32, 17),
    }
)


class _Cursor:
    """Sequential reads from the start of the file, which is read block by block: vocabularies are long lists
    of short texts.
    """

    def __init__(self, file: CheckpointFile) -> None:
        self.file = file
        self.at = 0
        self.block, self.block_at = b"", 0

    def take(self, size: int, what: str) -> bytes:
        start = self.at - self.block_at
        if start + size > len(self.block):
            ahead = max(size, min(BLOCK, self.file.size - self.at))
            self.block, self.block_at, start = self.file.read(self.at, ahead, what), self.at, 0
        self.at += size
        return self.block[start : start + size]

    def number(self, kind: str, what: str) -> Any:
        layout = _LAYOUTS[kind]
        return layout.unpack(self.take(layout.size, what))[0]

    def text(self, what: str) -> str | bytes:
        """A string; as bytes when it is not UTF-8, which vocabularies of byte tokens may hold."""
        data = self.take(self.number("Q", what), what)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data

    def value(self, kind: int, what: str) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind], what)
        if kind == _STRING:
            return self.text(what)
        if kind == _ARRAY:
            return self._array(what)
        raise damaged(self.file.path, f"{what} has the unknown type {kind}")

    def _array(self, what: str) -> list[Any]:
        kind, size = self.number("I", what), self.number("Q", what)
        if size > MAX_ITEMS:
            raise damaged(self.file.path, f"{what} is an array of {size} items; at most {MAX_ITEMS} are read")
        if kind == _STRING:
            return [self.text(what) for _ in range(size)]
        if kind not in _SCALARS:
            raise damaged(self.file.path, f"{what} is an array of the unknown type {kind}")
        layout = struct.Struct(f"<{size}{_SCALARS[kind]}")
        return list(layout.unpack(self.take(layout.size, what)))


def read_gguf(path: Path) -> Header:
    """The header of one file. Raises CompileError naming every fault of every tensor."""
    with CheckpointFile(path) as file:
        cursor = _Cursor(file)
        tensor_count, field_count = _preamble(cursor)
        metadata: dict[str, Any] = {}
        for _ in range(field_count):
            key = shown(cursor.text("a metadata key"))
            if key in metadata:
                raise damaged(path, f"the metadata key `{key}` stands twice")
            metadata[key] = cursor.value(cursor.number("I", f"`{key}`"), f"`{key}`")
        lines = [_line(cursor) for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
            raise damaged(path, f"general.alignment {shown(alignment)} is not a power of two")
        tensors = _tensors(file, lines, -(-cursor.at // alignment) * alignment, alignment)
    return Header(path, "gguf", tensors, metadata)


def _preamble(cursor: _Cursor) -> tuple[int, int]:
    """(tensors, metadata fields)."""
    path = cursor.file.path
    if cursor.take(4, "the magic") != b"GGUF":
        raise damaged(path, "not a GGUF file")
    version = cursor.number("I", "the version")
    if version & 0xFFFF == 0:
        raise damaged(path, "a big-endian GGUF file, which is not read")
    if version not in (2, 3):
        raise damaged(path, f"GGUF version {version} is not read; 2 and 3 are")
    tensor_count, field_count = cursor.number("Q", "the tensor count"), cursor.number("Q", "the field count")
    if max(tensor_count, field_count) > MAX_TENSORS:
        raise damaged(path, f"{tensor_count} tensors and {field_count} fields are more than any model has")
    return tensor_count, field_count


def _line(cursor: _Cursor) -> tuple[str | bytes, tuple[int, ...], int, int]:
    """(name, row-major shape, type id, offset from the start of the data)."""
    name = cursor.text("a tensor name")
    what = f"tensor `{shown(name)}`"
    rank = cursor.number("I", what)
    if rank > 16:
        raise damaged(cursor.file.path, f"{what}: it has {rank} dimensions")
    shape = struct.unpack(f"<{rank}Q", cursor.take(8 * rank, what))[::-1]
    return name, shape, cursor.number("I", what), cursor.number("Q", what)


def _tensors(
    file: CheckpointFile,
    lines: list[tuple[str | bytes, tuple[int, ...], int, int]],
    data_start: int,
    alignment: int,
) -> dict[str, TensorInfo]:
    faults = TensorFaults(file.path)
    tensors: dict[str, TensorInfo] = {}
    reached, last = data_start, "the header"
    for name, shape, kind, offset in sorted(lines, key=lambda line: line[3]):
        found = _extent(shape, kind, data_start + offset)
        if fault := name_fault(name) or ("its name stands twice" if name in tensors else ""):
            faults.add(name, fault)
        elif isinstance(found, str):
            faults.add(name, found)
        elif offset % alignment or found.offset < reached:
            faults.add(name, f"its bytes at {found.offset} are not aligned to {alignment}, or overlap {last}")
        else:
            reached, last = found.offset + found.nbytes, f"`{shown(name)}`"
            tensors[str(name)] = TensorInfo(str(name), _TYPES[kind][1], shape, file.path, found)
    faults.check()
    if tensors and reached > file.size:  # a vocabulary alone ends without padding
        raise file.truncated(f"the data (last: {last})", reached)
    return {str(name): tensors[str(name)] for name, *_ in lines}


def _extent(shape: tuple[int, ...], kind: int, offset: int) -> Extent | str:
    """Where the bytes stand, or what is wrong."""
    if fault := shape_fault(shape):
        return fault
    if kind not in _TYPES:
        return f"its element type {kind} is not read"
    encoding, _, block, block_bytes = _TYPES[kind]
    if (shape[-1] if shape else 1) % block:
        return f"its rows of {shape[-1] if shape else 1} do not divide into blocks of {block} ({encoding})"
    return Extent(offset, count(shape) // block * block_bytes, encoding=encoding)
