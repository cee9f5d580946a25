"""Checkpoint folders: which file holds the weights, and shards listed by an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from compiler.diagnostics.diagnostic import CompileError, Diagnostics, fail
from compiler.weights.header import Header, TensorInfo
from compiler.weights.readers.files import MAX_FAULTS, CheckpointFile, damaged, place, shown
from compiler.weights.readers.strict_json import JsonFault, loads

MAX_INDEX: Final = 64 * 2**20
INDEX_SUFFIX: Final = ".index.json"
#: Looked for in this order.
CANDIDATES: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}
)


def locate(folder: Path) -> Path:
    """The file or index of a folder that holds the weights. CompileError when none does, or two could."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise fail("unreadable", f"{folder.name}: {error.strerror}", place(folder)) from None
    present: list[str] = [name for name in CANDIDATES if name in names]
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    if not present and len(ggufs) == 1:
        present = ggufs
    if not present and ggufs:
        raise _ambiguous(folder, ggufs)
    if not present:
        looked = ", ".join((*CANDIDATES, "*.gguf"))
        raise fail("not-found", f"no weights in this folder; looked for {looked}", place(folder))
    if present[0] + INDEX_SUFFIX in present:
        raise _ambiguous(folder, [present[0], present[0] + INDEX_SUFFIX])
    return _inside(folder, present[0], "the folder")


def _ambiguous(folder: Path, names: list[str]) -> CompileError:
    listed = ", ".join(names[:10])
    message = f"more than one file could hold the weights: {listed}"
    return fail("ambiguous-name", message, place(folder), help="pass the file itself instead of its folder")


def _inside(folder: Path, name: str, where: str) -> Path:
    """`folder/name`, which may be a link only into the folder or into the blobs of its hub cache."""
    path = folder / name
    if not path.is_symlink():
        return path
    try:
        target, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError):
        raise fail("checkpoint-path", f"{where}: '{name}' is a link in a circle", place(folder)) from None
    allowed = [home, *(up.parent / "blobs" for up in home.parents if up.name == "snapshots")]
    if not any(target.is_relative_to(root) for root in allowed):
        message = f"{where}: '{name}' is a link that leads out of the folder"
        raise fail("checkpoint-path", message, place(folder), help="pass the file it leads to")
    return path


def name_reason(name: str) -> str:
    """Why `name` is not a plain file name on every system, or an empty string."""
    if not 0 < len(name) <= 255 or not _PLAIN.issuperset(name) or not name.strip("."):
        return "is not a plain file name"
    if name.endswith(".") or name.partition(".")[0].lower() in _DEVICES:
        return "is a name that some systems reserve"
    return ""


def read_index(path: Path, read_shard: Callable[[Path], Header]) -> Header:
    """The union of the shards that an index lists. Raises CompileError naming all that disagrees."""
    listed = weight_map(path)
    shards = {name: _inside(path.parent, name, path.name) for name in sorted(set(listed.values()))}
    headers = {name: read_shard(shard) for name, shard in shards.items()}
    tensors = _merged(path, listed, headers)
    kinds = {header.format for header in headers.values()}
    if len(kinds) != 1:
        raise damaged(path, f"its shards are of {len(kinds)} kinds, not one: {', '.join(sorted(kinds))}")
    return Header(path, kinds.pop(), tensors, _common(list(headers.values())))


def weight_map(path: Path) -> dict[str, str]:
    """An index's weight_map: tensor -> shard, every shard a plain name. Raises CompileError."""
    with CheckpointFile(path) as file:
        if file.size > MAX_INDEX:
            raise damaged(path, f"an index of {file.size} bytes; at most {MAX_INDEX} are read")
        data = file.read(0, file.size, "the index")
    try:
        index = loads(data)
    except JsonFault as fault:
        raise damaged(path, f"not valid JSON: {fault}") from None
    listed = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(listed, dict):
        raise damaged(path, "it has no mapping `weight_map`")
    faults = Diagnostics()
    for key, name in listed.items():
        reason = name_reason(name) if isinstance(name, str) else "is not text"
        if reason and len(faults.items) < MAX_FAULTS:
            message = f"{path.name}: weight_map['{shown(key)}'] = {shown(repr(name))} {reason}"
            faults.error("checkpoint-path", message, place(path))
    faults.check()
    return listed


def _merged(path: Path, listed: Mapping[str, str], headers: Mapping[str, Header]) -> dict[str, TensorInfo]:
    found: dict[str, str] = {}
    faults: list[str] = []
    for shard, header in headers.items():
        for key in header.tensors:
            if key in found:
                faults.append(f"tensor `{shown(key)}` stands in {found[key]} and in {shard}")
            elif key not in listed:
                faults.append(f"tensor `{shown(key)}` stands in {shard}, but the index does not list it")
            found.setdefault(key, shard)
    for key, shard in listed.items():
        if key not in found:
            faults.append(f"the index puts tensor `{shown(key)}` in {shard}, which does not hold it")
        elif found[key] != shard and key not in headers[shard].tensors:
            faults.append(f"the index puts tensor `{shown(key)}` in {shard}, but it stands in {found[key]}")
    report = Diagnostics()
    for fault in faults[:MAX_FAULTS]:
        report.error("checkpoint-format", f"{path.name}: {fault}", place(path))
    report.check()
    return {key: headers[shard].tensors[key] for key, shard in listed.items()}


def _common(headers: list[Header]) -> dict[str, Any]:
    """Metadata on which all shards agree."""
    first = headers[0].metadata
    return {key: value for key, value in first.items() if all(h.metadata.get(key) == value for h in headers)}
