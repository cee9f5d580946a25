"""Tensors of a checkpoint whose header was checked: views of the mapped file, or dequantised on demand.

Files are mapped privately (copy on write), so that opening costs no memory, a tensor may be written to, and
the file never changes. A tensor keeps its mapping alive; nothing needs closing. A file replaced by renaming
stays mapped as it was; one that is cut short in place ends the process when read, as with any mapping.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Final

import torch

from compiler.diagnostics.diagnostic import CompileError, Diagnostics, fail
from compiler.weights.dtypes import ITEMSIZE
from compiler.weights.header import Extent, Header, TensorInfo
from compiler.weights.readers.files import MAX_FAULTS, place, shown
from runtime.checkpoint.dtypes import DTYPES

GGUF_COMMAND: Final = "python -m pip install gguf"


class Checkpoint:
    """Reads tensors by key. Tensors that share bytes in the file share a storage here."""

    def __init__(self, header: Header, mapped: dict[Path, torch.UntypedStorage]) -> None:
        self.header = header
        self._mapped = mapped
        self._storages: dict[tuple[Path, int, int], torch.UntypedStorage] = {}

    def tensor(self, key: str) -> torch.Tensor:
        """The tensor of that key, with the header's shape and dtype. KeyError for any other key."""
        info = self.header.tensors[key]
        storage = self._storage(info)
        extent = _extent(info)
        if extent.encoding:
            return _dequantised(storage, extent.encoding, info.shape)
        stride = extent.stride if extent.stride is not None else _row_major(info.shape)
        empty = torch.empty(0, dtype=DTYPES[info.dtype])
        return empty.set_(storage, extent.start, info.shape, stride)

    def verify(self) -> None:
        """Compare storages with the checksums their archive records. CompileError names all that differ."""
        faults = Diagnostics()
        for key, info in self.header.tensors.items():
            expected = _extent(info).crc32
            if expected is None or len(faults.items) >= MAX_FAULTS:
                continue
            if zlib.crc32(_bytes(self._storage(info)).numpy().data) != expected:
                message = f"{info.file.name}: tensor `{shown(key)}` does not match its checksum"
                faults.error("checkpoint-format", message, place(info.file), help="fetch the file again")
        faults.check()

    def _storage(self, info: TensorInfo) -> torch.UntypedStorage:
        extent = _extent(info)
        place = (info.file, extent.offset, extent.nbytes)
        if place not in self._storages:
            part = self._mapped[info.file][extent.offset : extent.offset + extent.nbytes]
            aligned = extent.encoding or extent.offset % ITEMSIZE[info.dtype] == 0
            self._storages[place] = part if aligned else part.clone()
        return self._storages[place]


def open_checkpoint(header: Header) -> Checkpoint:
    """Map a header's files. Raises CompileError when one changed, or needs what is not installed."""
    if sys.byteorder != "little":
        raise fail(
            "checkpoint-format", "checkpoints are little-endian; this machine is not", place(header.path)
        )
    encoded = next((i for i in header.tensors.values() if i.extent is not None and i.extent.encoding), None)
    if encoded is not None:
        _require_gguf(encoded)
    unknown = next((info for info in header.tensors.values() if info.dtype not in DTYPES), None)
    if unknown is not None:
        message = f"{unknown.file.name}: tensor `{shown(unknown.key)}`: this torch has no {unknown.dtype}"
        raise fail("checkpoint-format", message, place(unknown.file))
    ends: dict[Path, int] = {}
    for info in header.tensors.values():
        extent = _extent(info)
        ends[info.file] = max(ends.get(info.file, 0), extent.offset + extent.nbytes)
    return Checkpoint(header, {path: _map(path, end) for path, end in ends.items()})


def _map(path: Path, end: int) -> torch.UntypedStorage:
    """The first `end` bytes of a file, privately."""
    try:
        size = path.stat().st_size
        if size < end:
            raise _changed(path, f"it had {end} bytes or more when its header was read, and has {size} now")
        storage = torch.UntypedStorage.from_file(str(path), shared=False, nbytes=size)
    except (OSError, RuntimeError) as error:
        raise _changed(path, str(error).splitlines()[0]) from None
    assert isinstance(storage, torch.UntypedStorage)
    return storage


def _changed(path: Path, reason: str) -> CompileError:
    return fail("unreadable", f"{path.name}: cannot be mapped: {reason}", place(path))


def _extent(info: TensorInfo) -> Extent:
    assert info.extent is not None, f"the header entry of {info.key} describes no file"
    return info.extent


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    stride: list[int] = []
    step = 1
    for dim in reversed(shape):
        stride.append(step)
        step *= max(dim, 1)
    return tuple(reversed(stride))


def _bytes(storage: torch.UntypedStorage) -> torch.Tensor:
    flat = torch.empty(0, dtype=torch.uint8)
    return flat.set_(storage, 0, (storage.nbytes(),), (1,))


def _dequantised(storage: torch.UntypedStorage, encoding: str, shape: tuple[int, ...]) -> torch.Tensor:
    """float32 values of a GGUF block format, in fresh memory."""
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    rows = _bytes(storage).numpy().reshape(*shape[:-1], -1) if 0 not in shape else None
    if rows is None:
        return torch.empty(shape, dtype=torch.float32)
    return torch.from_numpy(dequantize(rows, GGMLQuantizationType[encoding])).reshape(shape)


def _require_gguf(info: TensorInfo) -> None:
    try:
        import gguf.quants  # noqa: F401
    except ImportError:
        message = f"{info.file.name}: reading {_extent(info).encoding} tensors needs the gguf library"
        raise fail("checkpoint-format", message, place(info.file), help=f"`{GGUF_COMMAND}`") from None
