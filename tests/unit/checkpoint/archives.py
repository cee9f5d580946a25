"""Hand-made checkpoint files, well-formed except where a test wants them not to be."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def safetensors_file(path: Path, header: Any, data: bytes = b"") -> Path:
    """`header` as bytes is written as it is."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def torch_file(
    path: Path, pickle: bytes, storages: Mapping[str, bytes] | None = None, **extra: bytes
) -> Path:
    """An archive of stored members; `extra` members by name with `_` for `/`."""
    members = {"data.pkl": pickle, "version": b"3\n"}
    members |= {f"data/{key}": data for key, data in (storages or {}).items()}
    members |= {name.replace("_", "/"): data for name, data in extra.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    return path


def text(value: str) -> bytes:
    """BINUNICODE."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    """BININT, or LONG1 of eight bytes for what does not fit."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(key: str = "0", numel: int = 6, kind: str = "FloatStorage") -> bytes:
    """A persistent id and BINPERSID."""
    return (
        b"("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text(key)
        + text("cpu")
        + number(numel)
        + b"tQ"
    )


def tensor(
    shape: tuple[int, ...] = (2, 3), stride: tuple[int, ...] = (3, 1), start: int = 0, held: bytes = b""
) -> bytes:
    """A call of _rebuild_tensor_v2."""
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = (held or storage()) + number(start) + numbers(shape) + numbers(stride) + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state_dict(**values: bytes) -> bytes:
    """A whole pickle of one mapping."""
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in values.items()) + b"u."
