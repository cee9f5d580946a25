"""Folders and indexes: what is looked for, and names that lead elsewhere."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.readers import read_header
from compiler.weights.readers.folder import name_reason
from runtime.checkpoint.reader import open_checkpoint
from tests.unit.checkpoint.sealed import sealed

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def sharded(folder: Path) -> dict[str, torch.Tensor]:
    """Two shards and their index."""
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4), "c": torch.ones(1, 2)}
    save_file({"a": tensors["a"], "c": tensors["c"]}, folder / FIRST, metadata={"format": "pt", "shard": "1"})
    save_file({"b": tensors["b"]}, folder / SECOND, metadata={"format": "pt", "shard": "2"})
    index(folder, {"a": FIRST, "b": SECOND, "c": FIRST})
    return tensors


def index(folder: Path, weight_map: Any) -> None:
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(text)


def single(path: Path, value: float) -> None:
    save_file({"w": torch.full((2,), value)}, path)


def gguf_file(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("w", np.zeros((2, 3), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def refused(path: Path, code: str, *reasons: str) -> None:
    start = time.perf_counter()
    with sealed(), pytest.raises(CompileError) as caught:
        read_header(path)
    assert {d.code for d in caught.value.diagnostics} == {code}, str(caught.value)
    assert all(reason in str(caught.value) for reason in reasons), str(caught.value)
    assert time.perf_counter() - start < 1


def test_shards(tmp_path: Path) -> None:
    tensors = sharded(tmp_path)
    for path in (tmp_path, tmp_path / "model.safetensors.index.json"):
        with sealed():
            checkpoint = open_checkpoint(read_header(path))
            assert all(torch.equal(checkpoint.tensor(key), value) for key, value in tensors.items())
        assert set(checkpoint.header.tensors) == {"a", "b", "c"} and checkpoint.header.format == "safetensors"
        assert checkpoint.header.metadata == {"format": "pt"}, "what shards disagree on is nobody's"


def test_torch_shards(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.arange(3)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    listed = {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": listed}))
    checkpoint = open_checkpoint(read_header(tmp_path))
    assert checkpoint.header.format == "torch" and checkpoint.tensor("b").tolist() == [0, 1, 2]


def test_order_of_candidates(tmp_path: Path) -> None:
    gguf_file(tmp_path / "any name.gguf")
    assert read_header(tmp_path).format == "gguf"
    torch.save({"w": torch.zeros(3)}, tmp_path / "pytorch_model.bin")
    assert read_header(tmp_path).format == "torch"
    single(tmp_path / "model.safetensors", 1.0)
    assert read_header(tmp_path).format == "safetensors"


def test_ambiguous_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    refused(
        tmp_path, "not-found", "model.safetensors, model.safetensors.index.json, pytorch_model.bin,", "*.gguf"
    )
    gguf_file(tmp_path / "a.gguf")
    gguf_file(tmp_path / "b.gguf")
    refused(tmp_path, "ambiguous-name", "a.gguf, b.gguf", "pass the file itself")
    sharded(tmp_path)
    assert len(read_header(tmp_path).tensors) == 3
    single(tmp_path / "model.safetensors", 1.0)
    refused(tmp_path, "ambiguous-name", "model.safetensors, model.safetensors.index.json")


NAMES = [
    "../x.safetensors",
    "..",
    ".",
    "",
    "a/../../x",
    "sub/x.safetensors",
    "./x",
    "/etc/passwd",
    "/dev/zero",
    "~/x",
    "C:\\x",
    "C:x",
    "\\\\srv\\share\\x",
    "a\\b",
    "x\0y",
    "x\ny",
    "..%2fx",
    "file:///etc/passwd",
    "https://example.org/x",
    "CON",
    "nul.safetensors",
    "com1.bin",
    "LPT9",
    "x:ads",
    "x.",
    "...",
    "x ",
    "．．／x",
    "é.safetensors",
    "a" * 300,
    "$HOME",
    "*",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:24])
def test_names_that_are_no_plain_file_names(tmp_path: Path, name: str) -> None:
    assert name_reason(name)
    folder = tmp_path / "sub"
    folder.mkdir()
    single(tmp_path / "x.safetensors", 1.0)
    index(folder, {"h.0.w": name})
    refused(folder, "checkpoint-path", "weight_map['h.0.w']", "model.safetensors.index.json")


def test_all_bad_names_stand_in_one_report(tmp_path: Path) -> None:
    index(tmp_path, {"a": "../x", "b": 5, "c": "/y", "d": "fine.safetensors"})
    refused(
        tmp_path, "checkpoint-path", "weight_map['a']", "weight_map['b'] = 5 is not text", "weight_map['c']"
    )


def test_links(tmp_path: Path) -> None:
    folder, outside = tmp_path / "model", tmp_path / "outside.safetensors"
    folder.mkdir()
    single(outside, 2.0)
    (folder / "model.safetensors").symlink_to(outside)
    refused(folder, "checkpoint-path", "leads out of the folder")
    (folder / "model.safetensors").unlink()
    single(folder / "real.safetensors", 3.0)
    (folder / "model.safetensors").symlink_to("real.safetensors")
    assert open_checkpoint(read_header(folder)).tensor("w").tolist() == [3.0, 3.0]
    assert read_header(outside).tensors, "a file that the user names may stand anywhere"
    (folder / "model.safetensors").unlink()
    (folder / "shard.safetensors").symlink_to(outside)
    index(folder, {"w": "shard.safetensors"})
    refused(folder, "checkpoint-path", "'shard.safetensors' is a link that leads out")


def test_hub_cache_links_lead_to_its_blobs(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    snapshot, blobs = repository / "snapshots" / "0123abcd", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    single(blobs / "ffff", 5.0)
    (snapshot / "model.safetensors").symlink_to("../../blobs/ffff")
    assert open_checkpoint(read_header(snapshot)).tensor("w").tolist() == [5.0, 5.0]
    (blobs / "eeee").symlink_to(tmp_path / "elsewhere")
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to("../../blobs/eeee")
    single(tmp_path / "elsewhere", 6.0)
    refused(snapshot, "checkpoint-path", "leads out")


def test_a_sharded_checkpoint_in_a_hub_cache(tmp_path: Path) -> None:
    """Blobs have hashes for names: nothing may depend on the name of what a link leads to."""
    snapshot, blobs = tmp_path / "snapshots" / "0123abcd", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    tensors = sharded(snapshot)
    for number, path in enumerate(sorted(snapshot.iterdir())):
        path.rename(blobs / f"{number:08x}")
        path.symlink_to(f"../../blobs/{number:08x}")
    checkpoint = open_checkpoint(read_header(snapshot))
    assert all(torch.equal(checkpoint.tensor(key), value) for key, value in tensors.items())
    assert checkpoint.header.tensors["b"].file.name == SECOND


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    fifo = tmp_path / "model.safetensors"
    os.mkfifo(fifo)
    refused(tmp_path, "unreadable", "not a regular file")
    refused(fifo, "unreadable", "not a regular file")
    refused(Path("/dev/zero"), "unreadable", "not a regular file")
    fifo.unlink()
    fifo.mkdir()
    refused(tmp_path, "unreadable", "model.safetensors")
    fifo.rmdir()
    fifo.symlink_to(fifo)
    refused(fifo, "unreadable", "model.safetensors")
    refused(tmp_path, "checkpoint-path", "link in a circle")
    refused(tmp_path / "absent.bin", "not-found", "absent.bin: no such file")
    refused(tmp_path / "x\0y", "unreadable", "null byte")


@pytest.mark.parametrize(
    "data", [b"", b"P", b"hello", b"hello world, this is text", b"\x89HDF\r\n\x1a\n" * 3]
)
def test_other_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(data)
    refused(tmp_path / "x.bin", "checkpoint-format", "x.bin")


def test_lfs_pointer(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (tmp_path / "model.safetensors").write_text(pointer)
    refused(tmp_path, "checkpoint-format", "Git LFS pointer", "git lfs pull")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": "x"}', '{"weight_map": {}}', "{",
     '{"weight_map": {"a": "x", "a": "y"}}', '{"weight_map": {"a": NaN}}', '{"weight_map": ' + "[" * 9999,
     '{"weight_map": null}', '"weight_map"', "\ufeff{}"],
)  # fmt: skip
def test_malformed_indexes(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    refused(tmp_path, "checkpoint-format", "model.safetensors.index.json")


def test_index_and_shards_must_agree(tmp_path: Path) -> None:
    sharded(tmp_path)
    index(tmp_path, {"a": FIRST, "b": SECOND})
    refused(tmp_path, "checkpoint-format", f"`c` stands in {FIRST}, but the index does not list it")
    index(tmp_path, {"a": FIRST, "b": SECOND, "c": FIRST, "d": SECOND, "e": FIRST})
    refused(tmp_path, "checkpoint-format", f"`d` in {SECOND}, which does not hold it", "`e`")
    index(tmp_path, {"a": FIRST, "b": SECOND, "c": SECOND})
    refused(tmp_path, "checkpoint-format", f"`c` in {SECOND}, but it stands in {FIRST}")
    index(tmp_path, {"a": FIRST, "b": "absent.safetensors", "c": FIRST})
    refused(tmp_path, "not-found", "absent.safetensors")
    save_file({"b": torch.ones(2), "c": torch.ones(2)}, tmp_path / SECOND)
    index(tmp_path, {"a": FIRST, "b": SECOND, "c": FIRST})
    refused(tmp_path, "checkpoint-format", f"`c` stands in {FIRST} and in {SECOND}")
    torch.save({"b": torch.ones(2)}, tmp_path / SECOND)
    refused(tmp_path, "checkpoint-format", "of 2 kinds")


def test_a_file_that_shrank_after_its_header_was_read(tmp_path: Path) -> None:
    single(tmp_path / "model.safetensors", 1.0)
    header = read_header(tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size
    os.truncate(tmp_path / "model.safetensors", size - 4)
    with pytest.raises(CompileError, match=f"it had {size} bytes or more .* has {size - 4} now"):
        open_checkpoint(header)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CompileError, match="cannot be mapped"):
        open_checkpoint(header)
