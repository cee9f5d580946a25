"""The header of a PyTorch archive: what torch.save writes since 1.6, and TorchScript, read as data.

A zip archive: ROOT/data.pkl describes tensors as views of storages, ROOT/data/KEY holds a storage's bytes.
ROOT/constants.pkl or ROOT/code/ mark TorchScript. No other member is opened.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.dtypes import ITEMSIZE, count, name_fault, shape_fault
from compiler.weights.header import Extent, Header, TensorInfo
from compiler.weights.readers.files import CheckpointFile, TensorFaults, damaged, shown
from compiler.weights.readers.pickle_globals import Object, Tensor
from compiler.weights.readers.pickle_ops import PickleFault
from compiler.weights.readers.torchscript import flatten
from compiler.weights.readers.unpickle import unpickle
from compiler.weights.readers.zip_archive import Member, read_members

MAX_PICKLE: Final = 32 * 2**20


@dataclass(frozen=True)
class _Archive:
    file: CheckpointFile
    root: str
    members: Mapping[str, Member]

    @property
    def scripted(self) -> bool:
        marks = (self.root + "constants.pkl", self.root + "code/")
        return any(name.startswith(marks) for name in self.members)

    def bytes_of(self, name: str, limit: int) -> bytes:
        """A small stored member, checked against its CRC where the archive records one."""
        member = self.members[self.root + name]
        if member.compressed or member.size > limit:
            raise damaged(self.file.path, f"its member {name} is compressed or larger than {limit} bytes")
        data = self.file.read(member.start, member.size, f"member {name}")
        if member.crc32 and zlib.crc32(data) != member.crc32:
            raise damaged(self.file.path, f"its member {name} does not match its checksum")
        return data


def read_torch(path: Path, unwrap: tuple[str, ...] = ()) -> Header:
    """The header of one archive; of a nested checkpoint, the first mapping in `unwrap` that exists."""
    with CheckpointFile(path) as file:
        archive = _open(file)
        try:
            value = unpickle(archive.bytes_of("data.pkl", MAX_PICKLE), scripted=archive.scripted)
            chosen, beside, containers = _contents(value, unwrap)
        except PickleFault as fault:
            where = f" at byte {fault.offset}" if fault.offset >= 0 else ""
            raise damaged(path, f"data.pkl{where}: {fault.reason}") from None
        tensors = _tensors(archive, chosen)
    leaves = {key: leaf for key, leaf in {**beside, **chosen}.items() if isinstance(key, str)}
    metadata = {key: _described(leaf) for key, leaf in leaves.items() if key not in tensors}
    return Header(path, "torchscript" if archive.scripted else "torch", tensors, metadata, containers)


def _open(file: CheckpointFile) -> _Archive:
    members = read_members(file)
    roots = {name.partition("/")[0] for name in members}
    root = next(iter(roots)) + "/" if len(roots) == 1 else ""
    if not root or root + "data.pkl" not in members:
        raise damaged(file.path, "a zip archive, but not of PyTorch: it has no single data.pkl")
    archive = _Archive(file, root, members)
    if root + "byteorder" in members and archive.bytes_of("byteorder", 16) != b"little":
        raise damaged(file.path, "written on a big-endian machine, which is not read")
    return archive


def _contents(value: Any, unwrap: tuple[str, ...]) -> tuple[dict[Any, Any], dict[Any, Any], tuple[str, ...]]:
    """(the mapping that holds the tensors, what stands beside it, the names of top-level mappings)."""
    if isinstance(value, Object):
        tensors, others = flatten(value)
        return {**others, **tensors}, {}, ()
    if not isinstance(value, dict):
        raise PickleFault(f"it holds {_described(value)}, not a mapping of names to tensors")
    containers = tuple(
        name for name, inner in value.items() if isinstance(name, str) and isinstance(inner, dict)
    )
    chosen = next((name for name in unwrap if name in containers), None)
    if chosen is None:
        return value, {}, containers
    return value[chosen], {name: inner for name, inner in value.items() if name != chosen}, containers


def _tensors(archive: _Archive, values: Mapping[Any, Any]) -> dict[str, TensorInfo]:
    path = archive.file.path
    faults = TensorFaults(path)
    tensors: dict[str, TensorInfo] = {}
    for name, value in values.items():
        if not isinstance(value, Tensor):
            continue
        found = name_fault(name) or shape_fault(value.shape) or _view_fault(archive, value)
        if found:
            faults.add(name, found)
            continue
        member = archive.members[f"{archive.root}data/{value.storage.key}"]
        extent = Extent(member.start, member.size, value.stride, value.start, "", member.crc32 or None)
        tensors[name] = TensorInfo(name, value.dtype, value.shape, path, extent)
    faults.check()
    return tensors


def _view_fault(archive: _Archive, tensor: Tensor) -> str:
    """Why the tensor is not a view of its storage, or an empty string. Python's integers do not overflow."""
    storage = tensor.storage
    member = archive.members.get(f"{archive.root}data/{storage.key}")
    if member is None:
        return f"its storage data/{shown(storage.key)} is not in the archive"
    if member.compressed:
        return f"its storage data/{shown(storage.key)} is compressed, which PyTorch never does"
    if member.size != storage.numel * ITEMSIZE[storage.dtype]:
        return f"its storage has {member.size} bytes, not {storage.numel} elements of {storage.dtype}"
    capacity, elements = member.size // ITEMSIZE[tensor.dtype], count(tensor.shape)
    last = (
        sum((dim - 1) * step for dim, step in zip(tensor.shape, tensor.stride, strict=True))
        if elements
        else -1
    )
    if tensor.start > capacity or tensor.start + last >= capacity:
        return f"it reaches to element {tensor.start + last} of a storage of {capacity}"
    if elements > capacity:
        return f"its {tensor.shape} expands a storage of {capacity} elements; save a clone() instead"
    return ""


def _described(value: Any) -> Any:
    """A value that is not a tensor, for the metadata: itself when it is plain, else in a few words."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict() | list() | tuple():
            return f"a {type(value).__name__.lower()} of {len(value)}".replace("ordered", "dict")
        case Tensor():
            return f"a tensor {value.shape}"
    return f"a {type(value).__name__.lower()}"


def is_legacy(head: bytes) -> bool:
    """Whether a file begins as torch.save wrote it before 1.6: a bare pickle of protocol 2."""
    return head.startswith(b"\x80\x02")


def legacy_fault(path: Path) -> CompileError:
    """The fault of a file older than the zip format."""
    return damaged(
        path,
        "a bare pickle, as PyTorch before 1.6 wrote it, is not read",
        help="load it where you trust it and save it again with torch.save or safetensors",
    )
