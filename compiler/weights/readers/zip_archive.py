"""The members of a zip archive as PyTorch writes them, without decompressing or trusting anything.

Stricter than the zip format: the members tile the file from its first byte to the central directory, each
local header agrees with the directory, nothing is encrypted, no name stands twice and nothing follows the
end record. A file that two readers could understand differently is refused. Layout: PKWARE APPNOTE 6.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.readers.files import CheckpointFile, damaged, shown

MAX_MEMBERS: Final = 1_000_000
_MAX_DIRECTORY: Final = 2**28

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64: Final = struct.Struct("<4sIQI")
_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR: Final = 0x0008
_ZIP64: Final = 1
_FULL: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class Member:
    """One file of the archive; its bytes stand at [start, start + stored) of the archive."""

    name: str
    start: int
    stored: int
    size: int
    crc32: int
    compressed: bool


@dataclass(frozen=True)
class _Entry:
    """A line of the central directory."""

    name: bytes
    flags: int
    method: int
    crc32: int
    stored: int
    size: int
    header: int


def read_members(file: CheckpointFile) -> Mapping[str, Member]:
    """All members by name. Raises CompileError when the archive is not exactly what it should be."""
    start, size, total = _directory(file)
    data = file.read(start, size, "the zip directory")
    entries = sorted(_entries(file, data, total), key=lambda entry: entry.header)
    members: dict[str, Member] = {}
    reached, described = 0, False
    for entry in entries:
        _check_gap(file, entry.header - reached, described, entry.name)
        member = _member(file, entry)
        if member.name in members:
            raise damaged(file.path, f"the member `{shown(member.name)}` stands twice")
        members[member.name] = member
        reached, described = member.start + member.stored, bool(entry.flags & _DESCRIPTOR)
    _check_gap(file, start - reached, described, b"the directory")
    return members


def _directory(file: CheckpointFile) -> tuple[int, int, int]:
    """Offset, size and number of entries of the directory, which must end where the end records begin."""
    if file.size < _END.size:
        raise file.truncated("the zip end record", _END.size)
    end = file.size - _END.size
    magic, disk, first_disk, here, total, size, start, comment = _END.unpack(
        file.read(end, _END.size, "the end")
    )
    if magic != b"PK\x05\x06" or comment:
        raise _no_end(file)
    if disk or first_disk or here != total:
        raise damaged(file.path, "a zip archive in several parts is not read")
    locator = file.read(max(end - _LOCATOR64.size, 0), _LOCATOR64.size, "the zip64 locator")
    if locator.startswith(b"PK\x06\x07"):
        _, _, end64, _ = _LOCATOR64.unpack(locator)
        if end64 + _END64.size + _LOCATOR64.size != end:
            raise damaged(file.path, "its zip64 end record is not where its locator says")
        fields = _END64.unpack(file.read(end64, _END64.size, "the zip64 end record"))
        magic, length, _, _, disk, first_disk, here, total, size, start = fields
        if magic != b"PK\x06\x06" or length != _END64.size - 12 or disk or first_disk or here != total:
            raise damaged(file.path, "its zip64 end record is damaged")
        end = end64
    if start + size != end or size > _MAX_DIRECTORY or total > MAX_MEMBERS:
        raise damaged(file.path, "its zip directory is not where its end record says, or too large")
    return start, size, total


def _no_end(file: CheckpointFile) -> CompileError:
    return damaged(
        file.path,
        f"its {file.size} bytes do not end in a zip end record: the file is truncated, or something follows",
        help="fetch the file again",
    )


def _entries(file: CheckpointFile, data: bytes, total: int) -> Iterator[_Entry]:
    at = 0
    for _ in range(total):
        if at + _CENTRAL.size > len(data):
            raise damaged(file.path, "its zip directory is shorter than its end record says")
        fields = _CENTRAL.unpack_from(data, at)
        magic, _, _, flags, method, _, _, crc32, stored, size, name_size, extra_size, note_size = fields[:13]
        disk, header = fields[13], fields[16]
        at += _CENTRAL.size
        name, extra = data[at : at + name_size], data[at + name_size : at + name_size + extra_size]
        at += name_size + extra_size + note_size
        if magic != b"PK\x01\x02" or at > len(data) or disk:
            raise damaged(file.path, "its zip directory is damaged")
        size, stored, header = _widened(file, extra, (size, stored, header))
        yield _Entry(name, flags, method, crc32, stored, size, header)
    if at != len(data):
        raise damaged(file.path, "its zip directory is longer than its end record says")


def _widened(file: CheckpointFile, extra: bytes, narrow: tuple[int, int, int]) -> tuple[int, int, int]:
    """Size, stored size and header offset, with those that do not fit 32 bits taken from the zip64 field."""
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            body = extra[at + 4 : at + 4 + length]
            wide = list(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
        at += 4 + length
    if narrow.count(_FULL) > len(wide):
        raise damaged(file.path, "a zip64 size is missing")
    size, stored, header = (wide.pop(0) if value == _FULL else value for value in narrow)
    return size, stored, header


def _check_gap(file: CheckpointFile, gap: int, described: bool, before: bytes) -> None:
    """Between two members stands a data descriptor (12 to 24 bytes) if announced, else nothing."""
    if gap in ((12, 16, 20, 24) if described else (0,)):
        return
    name = shown(before.decode("utf-8", "replace"))
    what = "overlaps what stands before it" if gap < 0 else f"follows {gap} bytes that belong to nothing"
    raise damaged(file.path, f"the zip member `{name}` {what}")


def _member(file: CheckpointFile, entry: _Entry) -> Member:
    try:
        name = entry.name.decode("utf-8")
    except UnicodeDecodeError:
        raise damaged(file.path, "a zip member's name is not UTF-8") from None
    fields = _LOCAL.unpack(file.read(entry.header, _LOCAL.size, f"member `{shown(name)}`"))
    magic, _, flags, method, _, _, crc32, stored, size, name_size, extra_size = fields
    local_name = file.read(entry.header + _LOCAL.size, name_size, "a member's name")
    start = entry.header + _LOCAL.size + name_size + extra_size
    if flags & _DESCRIPTOR:  # then the local header may leave these to the descriptor
        known = (entry.crc32, entry.stored, entry.size)
        crc32, stored, size = (
            given or true for given, true in zip((crc32, stored, size), known, strict=True)
        )
    wide = size == _FULL or stored == _FULL
    agree = (magic, local_name, flags, method) == (b"PK\x03\x04", entry.name, entry.flags, entry.method)
    if not agree or (not wide and (crc32, stored, size) != (entry.crc32, entry.stored, entry.size)):
        raise damaged(file.path, f"the zip member `{shown(name)}` differs from its line in the directory")
    if flags & _ENCRYPTED:
        raise damaged(file.path, f"the zip member `{shown(name)}` is encrypted")
    if start + entry.stored > file.size:
        raise file.truncated(f"member `{shown(name)}`", start + entry.stored)
    compressed = entry.method != 0
    if not compressed and entry.stored != entry.size:
        raise damaged(file.path, f"the zip member `{shown(name)}` has two sizes")
    return Member(name, start, entry.stored, entry.size, entry.crc32, compressed)
