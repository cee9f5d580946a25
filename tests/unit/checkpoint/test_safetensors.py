"""safetensors headers: equal to the library where it is right, stricter where it is lax."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.dtypes import SAFETENSORS
from compiler.weights.readers import read_header
from runtime.checkpoint.dtypes import DTYPES
from runtime.checkpoint.reader import open_checkpoint
from tests.unit.checkpoint.archives import safetensors_file
from tests.unit.checkpoint.sealed import sealed


def bits(value: torch.Tensor) -> bytes:
    """All bytes of a tensor, so that NaN equals NaN."""
    return bytes(value.contiguous().reshape(-1).view(torch.uint8).tolist())


def example(seed: int = 0) -> dict[str, torch.Tensor]:
    """A tensor of every dtype and awkward shape, with arbitrary bits."""
    torch.manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for at, dtype in enumerate(SAFETENSORS.values()):
        raw = torch.randint(0, 2 if dtype == "bool" else 256, (5, 3 + at, 8), dtype=torch.uint8)
        tensors[f"layer.{at}.{dtype}"] = raw.view(DTYPES[dtype])
    tensors["scalar"] = torch.tensor(-2.5, dtype=torch.float16)
    tensors["empty"] = torch.zeros(0, 7, dtype=torch.int64)
    tensors["é ß"] = torch.arange(3)
    return tensors


def test_every_dtype_equals_the_library(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(example(), path, metadata={"format": "pt", "note": "x"})
    with sealed():
        header = read_header(path)
        checkpoint = open_checkpoint(header)
        tensors = {key: checkpoint.tensor(key) for key in header.tensors}
    expected = load_file(path)
    assert header.format == "safetensors" and header.metadata == {"format": "pt", "note": "x"}
    assert tensors.keys() == expected.keys()
    for key, value in expected.items():
        assert tensors[key].dtype == value.dtype and tensors[key].shape == value.shape, key
        assert header.tensors[key].shape == tuple(value.shape)
        assert bits(tensors[key]) == bits(value), key


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


ODD: dict[str, tuple[Any, int, str]] = {
    "not an object": ([1], 0, "not a checkpoint"),
    "array header": (b" [1]", 0, "not a checkpoint"),
    "leading space": (b' {"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8, "not a checkpoint"),
    "duplicate key": (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        1,
        "`a` stands twice",
    ),
    "duplicate field": (
        b'{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}',
        1,
        "stands twice",
    ),
    "not JSON": (b'{"a":', 0, "not valid"),
    "NaN": (b'{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,1]}}', 1, "NaN is not JSON"),
    "deep": (b'{"a":' + b"[" * 50 + b"]" * 50 + b"}", 0, "deep"),
    "not UTF-8": (b'{"\xff":{}}', 0, "not UTF-8"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, 0, "__metadata__"),
    "metadata list": ({"__metadata__": []}, 0, "__metadata__"),
    "entry is text": ({"a": "x"}, 0, "exactly dtype"),
    "field missing": ({"a": {"dtype": "F32", "shape": [2]}}, 8, "exactly dtype"),
    "field extra": ({"a": entry(x=1)}, 8, "exactly dtype"),
    "unknown dtype": ({"a": entry("F31")}, 8, "F31 is not read"),
    "sub-byte dtype": ({"a": entry("F4", (16,))}, 8, "F4 is not read"),
    "dtype is a number": ({"a": entry(7)}, 8, "is not read"),
    "dtype is a list": ({"a": entry(["F32"])}, 8, "is not read"),
    "shape is text": ({"a": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}}, 8, "not a list"),
    "negative dim": ({"a": entry(shape=(-2,))}, 8, "dimension -2"),
    "bool dim": ({"a": entry(shape=(2, True))}, 8, "dimension True"),
    "float dim": ({"a": entry(shape=(2.0,))}, 8, "dimension 2.0"),
    "huge dim": ({"a": entry(shape=(0, 2**62), offsets=(0, 0))}, 0, "2^48"),
    "huge dim digits": (
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 4000 + b'],"data_offsets":[0,8]}}',
        8,
        "2^48",
    ),
    "huge product": ({"a": entry(shape=(0, 2**40, 2**40), offsets=(0, 0))}, 0, "2^63"),
    "absurd rank": ({"a": entry(shape=(1,) * 10001, offsets=(0, 4))}, 4, "10001 dimensions"),
    "size disagrees": ({"a": entry(shape=(3,))}, 8, "cannot hold float32 (3,), which is 12 bytes"),
    "backwards": ({"a": entry(offsets=(8, 0))}, 8, "cannot hold"),
    "before the data": ({"a": entry(offsets=(-8, 0))}, 8, "cannot hold"),
    "three offsets": ({"a": entry(offsets=(0, 4, 8))}, 8, "two whole numbers"),
    "offset is text": ({"a": entry(offsets=("0", 8))}, 8, "two whole numbers"),
    "beyond the file": ({"a": entry(offsets=(0, 8))}, 7, "truncated"),
    "offset 2^62": ({"a": entry(offsets=(2**62, 2**62 + 8))}, 8, "belong to nothing"),
    "trailing bytes": ({"a": entry()}, 9, "1 bytes behind `a`"),
    "hole": ({"a": entry(), "b": entry(offsets=(12, 20))}, 20, "4 bytes between `a` and it"),
    "hole at the start": ({"a": entry(offsets=(4, 12))}, 12, "4 bytes between the header and it"),
    "overlap": ({"a": entry(), "b": entry(offsets=(4, 12))}, 12, "overlap those of `a`"),
    "same bytes": ({"a": entry(), "b": entry()}, 8, "overlap those of `a`"),
    "newline in a name": ({"a\nb": entry()}, 8, "printable"),
    "empty name": ({"": entry()}, 8, "printable"),
    "long name": ({"n" * 513: entry()}, 8, "printable"),
}


@pytest.mark.parametrize("case", ODD)
def test_malformed(tmp_path: Path, case: str) -> None:
    header, size, reason = ODD[case]
    path = safetensors_file(tmp_path / "odd.safetensors", header, bytes(size))
    with sealed(), pytest.raises(CompileError) as caught:
        read_header(path)
    assert caught.value.diagnostics[0].code == "checkpoint-format"
    assert "odd.safetensors" in str(caught.value) and reason in str(caught.value)


def test_all_faults_in_one_report_up_to_a_cap(tmp_path: Path) -> None:
    header = {f"t{i}": entry("F31") for i in range(3)}
    with pytest.raises(CompileError) as caught:
        read_header(safetensors_file(tmp_path / "a", header, bytes(8)))
    assert [f"`t{i}`" in str(caught.value) for i in range(3)] == [True] * 3
    many = {f"t{i}": entry("F31") for i in range(1000)}
    with pytest.raises(CompileError) as caught:
        read_header(safetensors_file(tmp_path / "b", many, bytes(8)))
    assert len(caught.value.diagnostics) == 20


def test_a_million_tensors_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes((66 * 2**20).to_bytes(8, "little") + b"{" + b" " * 1000)
    start = time.perf_counter()
    with pytest.raises(CompileError, match="header would be"):
        read_header(path)
    assert time.perf_counter() - start < 0.5


def test_every_truncation_is_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(5)}, whole)
    data = whole.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for size in range(len(data)):
        cut.write_bytes(data[:size])
        with pytest.raises(CompileError) as caught:
            read_header(cut)
        message = str(caught.value)
        assert "truncated" in message and "cut.safetensors" in message and str(size) in message, size
        if size >= 9:
            assert f"has {size} bytes" in message


def test_unaligned_data_is_read(tmp_path: Path) -> None:
    """Legal, though the library never writes it: a float behind three single bytes."""
    header = {"a": entry("U8", (3,), (0, 3)), "b": entry("F32", (2,), (3, 11))}
    data = b"\x01\x02\x03" + torch.tensor([1.5, -2.0]).numpy().tobytes()
    text = json.dumps(header).encode()
    path = safetensors_file(tmp_path / "a", text + b" " * (-len(text) % 8), data)
    checkpoint = open_checkpoint(read_header(path))
    assert torch.equal(checkpoint.tensor("b"), torch.tensor([1.5, -2.0]))
    assert torch.equal(checkpoint.tensor("a"), torch.tensor([1, 2, 3], dtype=torch.uint8))


def test_random_damage_to_the_header(tmp_path: Path) -> None:
    """Either the damage is noticed, or the file still means something within its bounds."""
    whole = tmp_path / "whole.safetensors"
    save_file({f"t{i}.weight": torch.zeros(i, 3) for i in range(4)}, whole, metadata={"format": "pt"})
    data = whole.read_bytes()
    head = 8 + int.from_bytes(data[:8], "little")
    path, chance, refused = tmp_path / "a", random.Random(7), 0
    for _ in range(2000):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(head)] = chance.choice(b'0129{}[],:"\\ -e\xff\x00')
        path.write_bytes(damaged)
        try:
            with sealed():
                read_header(path)
        except CompileError:
            refused += 1
    assert refused > 1000
