"""Zip archives that two readers could understand in two ways, or that grow when read."""

from __future__ import annotations

import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.readers import read_header
from tests.unit.checkpoint.archives import state_dict, storage, tensor, torch_file
from tests.unit.checkpoint.sealed import sealed


def sound(path: Path) -> bytes:
    return torch_file(path, state_dict(a=tensor()), {"0": bytes(24)}).read_bytes()


def refused(path: Path, reason: str) -> None:
    start = time.perf_counter()
    with sealed(), pytest.raises(CompileError) as caught:
        read_header(path)
    assert reason in str(caught.value) and path.name in str(caught.value)
    assert time.perf_counter() - start < 1


def build(path: Path, write: Callable[[zipfile.ZipFile], None]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {"data.pkl": state_dict(a=tensor()), "version": b"3\n"}.items():
            archive.writestr(f"archive/{name}", data)
        write(archive)
    return path


def test_bomb(tmp_path: Path) -> None:
    """Sixteen megabytes of zeros in sixteen kilobytes."""
    size = 2**22
    pickled = state_dict(a=tensor((size,), (1,), held=storage(numel=size)))
    path = tmp_path / "bomb.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickled)
        archive.writestr(zipfile.ZipInfo("archive/version"), b"3\n")
        archive.writestr("archive/data/0", bytes(4 * size))
    refused(path, "is compressed")


def test_compressed_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"]" * 10_000_000)
        archive.writestr("archive/version", b"3\n")
    refused(path, "compressed")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_member(tmp_path: Path) -> None:
    def twice(archive: zipfile.ZipFile) -> None:
        archive.writestr("archive/data/0", bytes(24))
        archive.writestr("archive/data/0", bytes(range(24)))

    refused(build(tmp_path / "a.bin", twice), "`archive/data/0` stands twice")


def test_two_roots(tmp_path: Path) -> None:
    refused(
        build(tmp_path / "a.bin", lambda archive: archive.writestr("other/data.pkl", b"")), "not of PyTorch"
    )


def test_prefix_suffix_and_comment(tmp_path: Path) -> None:
    data = sound(tmp_path / "sound.bin")
    path = tmp_path / "a.bin"
    path.write_bytes(b"PK\x03\x04" + data)
    refused(path, "zip directory is not where")
    path.write_bytes(data + b"x")
    refused(path, "zip end record")
    path.write_bytes(data[:-2] + b"\x05\x00hello")
    refused(path, "zip end record")


def _central(data: bytes, member: bytes) -> int:
    """Where the directory's line for a member begins."""
    return data.rindex(b"PK\x01\x02", 0, data.rindex(member))


FIELDS = {"flags": 8, "method": 10, "crc": 16, "stored": 20, "size": 24, "disk": 34, "offset": 42, "magic": 0}


@pytest.mark.parametrize("field", FIELDS)
def test_directory_and_local_header_disagree(tmp_path: Path, field: str) -> None:
    data = bytearray(sound(tmp_path / "sound.bin"))
    data[_central(bytes(data), b"archive/data/0") + FIELDS[field]] ^= 1
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    refused(path, "")


def test_local_name_differs(tmp_path: Path) -> None:
    data = bytearray(sound(tmp_path / "sound.bin"))
    at = data.index(b"archive/data/0")
    data[at : at + 14] = b"archive/data/1"
    (tmp_path / "a.bin").write_bytes(data)
    refused(tmp_path / "a.bin", "differs from its line in the directory")


def test_encrypted(tmp_path: Path) -> None:
    data = bytearray(sound(tmp_path / "sound.bin"))
    data[_central(bytes(data), b"archive/data/0") + 8] |= 1
    data[data.index(b"PK\x03\x04", data.index(b"archive/version") + 15) + 6] |= 1
    (tmp_path / "a.bin").write_bytes(data)
    refused(tmp_path / "a.bin", "is encrypted")


def test_overlapping_members(tmp_path: Path) -> None:
    """Two directory lines for one local header, as overlapped bombs are built."""
    data = sound(tmp_path / "sound.bin")
    line = _central(data, b"archive/data/0")
    end = data.rindex(b"PK\x05\x06")
    entry = bytearray(data[line:end])
    entry[-1:] = b"9"
    fields = list(struct.unpack("<4s4H2IH", data[end:]))
    fields[3] += 1
    fields[4] += 1
    fields[5] += len(entry)
    (tmp_path / "a.bin").write_bytes(data[:end] + bytes(entry) + struct.pack("<4s4H2IH", *fields))
    refused(tmp_path / "a.bin", "overlaps what stands before it")


def test_hidden_bytes_between_members(tmp_path: Path) -> None:
    data = sound(tmp_path / "sound.bin")
    end = data.rindex(b"PK\x05\x06")
    start = data.index(b"PK\x01\x02")
    fields = list(struct.unpack("<4s4H2IH", data[end:]))
    fields[6] += 3
    moved = data[:start] + b"xyz" + data[start:end] + struct.pack("<4s4H2IH", *fields)
    (tmp_path / "a.bin").write_bytes(moved)
    refused(tmp_path / "a.bin", "follows 3 bytes that belong to nothing")


def test_count_of_members_is_checked(tmp_path: Path) -> None:
    data = sound(tmp_path / "sound.bin")
    end = data.rindex(b"PK\x05\x06")
    for delta in (-1, 1):
        fields = list(struct.unpack("<4s4H2IH", data[end:]))
        fields[3] += delta
        fields[4] += delta
        (tmp_path / "a.bin").write_bytes(data[:end] + struct.pack("<4s4H2IH", *fields))
        refused(tmp_path / "a.bin", "than its end record says")
