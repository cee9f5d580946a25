"""One door for all checkpoint formats. A file's kind is told from its first bytes, never from its name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from compiler.weights.header import Header
from compiler.weights.readers.files import CheckpointFile, damaged
from compiler.weights.readers.folder import INDEX_SUFFIX, locate, read_index
from compiler.weights.readers.gguf import read_gguf
from compiler.weights.readers.safetensors import read_safetensors
from compiler.weights.readers.torch_zip import is_legacy, legacy_fault, read_torch


def read_header(path: Path, unwrap: tuple[str, ...] = ()) -> Header:
    """The header of a checkpoint file, of an index (`*.index.json`) with its shards, or of a folder.

    `unwrap` names mappings that a torch file may nest its tensors in, such as `state_dict` and `model`; the
    first that exists is taken, and without one the top level. No tensor's bytes are read and nothing in a
    file is executed. Raises CompileError on any file that is damaged, hostile or of an unknown kind.
    """
    if path.is_dir():
        path = locate(path)
    if path.name.endswith(INDEX_SUFFIX):
        return read_index(path, partial(_read_file, unwrap=unwrap))
    return _read_file(path, unwrap)


def _read_file(path: Path, unwrap: tuple[str, ...]) -> Header:
    with CheckpointFile(path) as file:
        head = file.read(0, min(file.size, 64), "the first bytes")
    if head.startswith(b"GGUF"):
        return read_gguf(path)
    if head.startswith(b"PK\x03\x04"):
        return read_torch(path, unwrap)
    if head[8:9] == b"{":
        return read_safetensors(path)
    if is_legacy(head):
        raise legacy_fault(path)
    if head.startswith(b"version https://git-lfs"):
        raise damaged(path, "a Git LFS pointer, not the file itself", help="run `git lfs pull` in its folder")
    if len(head) < 9:
        raise damaged(path, f"truncated: {len(head)} bytes are no checkpoint; the shortest has 10")
    raise damaged(path, "not a checkpoint: neither safetensors, a PyTorch archive nor GGUF")
