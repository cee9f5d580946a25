"""GGUF headers against the gguf library, and damaged ones."""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path

import gguf
import gguf.quants
import numpy as np
import pytest
import torch
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.readers import read_header
from compiler.weights.readers.gguf import _TYPES
from runtime.checkpoint.reader import open_checkpoint
from tests.unit.checkpoint.sealed import sealed

Q = GGMLQuantizationType
PLAIN = {
    Q.F32: np.float32,
    Q.F16: np.float16,
    Q.F64: np.float64,
    Q.I8: np.int8,
    Q.I16: np.int16,
    Q.I32: np.int32,
}


def write(path: Path) -> Path:
    """Tensors of every kind that is read, with arbitrary bytes, of shapes that no reversal hides."""
    chance = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(77)
    writer.add_array("tokenizer.ggml.tokens", ["a", "é", "<s>"])
    writer.add_array("tokenizer.ggml.scores", [0.5, -1.0, 2.0])
    writer.add_bool("flag", True)
    for kind in Q:
        if kind.value not in _TYPES:
            continue
        block, size = GGML_QUANT_SIZES[kind]
        if kind in PLAIN:
            values = chance.integers(-99, 99, (3, 5, 2)).astype(PLAIN[kind])
            writer.add_tensor(f"t.{kind.name}", values)
        else:
            raw = chance.integers(0, 60, (3, 2, 2 * size if block > 1 else 5 * size), dtype=np.uint8)
            writer.add_tensor(f"t.{kind.name}", raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_equal_to_the_library(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gguf")
    reader = gguf.GGUFReader(path)
    with sealed():
        header = read_header(path)
    checkpoint = open_checkpoint(header)
    assert header.format == "gguf" and list(header.tensors) == [tensor.name for tensor in reader.tensors]
    assert len(header.tensors) == len(_TYPES)
    for tensor in reader.tensors:
        info = header.tensors[tensor.name]
        value = checkpoint.tensor(tensor.name)
        shape = tuple(int(dim) for dim in reversed(tensor.shape))
        assert info.shape == tuple(value.shape) == shape and len(shape) == 3
        assert info.extent is not None
        assert (info.extent.offset, info.extent.nbytes) == (tensor.data_offset, tensor.n_bytes)
        assert str(value.dtype) == f"torch.{info.dtype}"
        if tensor.tensor_type in PLAIN:
            assert np.array_equal(value.numpy(), tensor.data), tensor.name
        elif tensor.tensor_type not in (Q.BF16, Q.I64):
            expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            assert np.array_equal(value.numpy(), expected, equal_nan=True), tensor.name
        else:
            assert (
                value.reshape(-1).view(torch.uint8).tolist()
                == tensor.data.reshape(-1).view(np.uint8).tolist()
            )


def test_metadata(tmp_path: Path) -> None:
    header = read_header(write(tmp_path / "a.gguf"))
    assert header.metadata == {
        "general.architecture": "llama",
        "llama.context_length": 77,
        "tokenizer.ggml.tokens": ["a", "é", "<s>"],
        "tokenizer.ggml.scores": [0.5, -1.0, 2.0],
        "flag": True,
    }


def test_the_table_of_block_formats_agrees_with_the_library() -> None:
    for kind, (encoding, _, block, size) in _TYPES.items():
        assert GGML_QUANT_SIZES[Q(kind)] == (block, size)
        assert not encoding or encoding == Q(kind).name


def test_a_missing_library_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = read_header(write(tmp_path / "a.gguf"))
    monkeypatch.setitem(sys.modules, "gguf.quants", None)
    with pytest.raises(CompileError) as caught:
        open_checkpoint(header)
    assert "needs the gguf library" in str(caught.value) and "python -m pip install gguf" in str(caught.value)


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def line(name: str | bytes = "a", dims: tuple[int, ...] = (2,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def made(lines: list[bytes], fields: list[bytes] | None = None, data: int = 8, version: int = 3) -> bytes:
    head = (
        b"GGUF"
        + struct.pack("<IQQ", version, len(lines), len(fields or ()))
        + b"".join((*(fields or ()), *lines))
    )
    return head + bytes(-len(head) % 32 + data)


FIELD = text("k") + struct.pack("<I", 4) + struct.pack("<I", 7)
ODD: dict[str, tuple[bytes, str]] = {
    "version 1": (made([], version=1), "version 1"),
    "big-endian": (made([], version=3 << 24), "big-endian"),
    "version 9": (made([], version=9), "version 9"),
    "counts": (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "more than any model has"),
    "fields": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "more than any model has"),
    "duplicate field": (made([], [FIELD, FIELD]), "`k` stands twice"),
    "field type": (made([], [text("k") + struct.pack("<I", 99)]), "unknown type 99"),
    "string length": (made([], [text("k") + struct.pack("<IQ", 8, 2**60)]), "truncated"),
    "array length": (made([], [text("k") + struct.pack("<IIQ", 9, 4, 2**60)]), "array of"),
    "array beyond the file": (made([], [text("k") + struct.pack("<IIQ", 9, 10, 10**6)]), "truncated"),
    "array of arrays": (made([], [text("k") + struct.pack("<IIQ", 9, 9, 1)]), "unknown type 9"),
    "array of strings": (made([], [text("k") + struct.pack("<IIQ", 9, 8, 10**6)]), "truncated"),
    "alignment zero": (made([], [text("general.alignment") + struct.pack("<II", 4, 0)]), "power of two"),
    "alignment odd": (made([], [text("general.alignment") + struct.pack("<II", 4, 24)]), "power of two"),
    "alignment text": (
        made([], [text("general.alignment") + struct.pack("<I", 8) + text("x")]),
        "power of two",
    ),
    "unknown type": (made([line(kind=77)]), "type 77 is not read"),
    "undequantisable": (made([line(dims=(32,), kind=9)], data=64), "type 9 is not read"),
    "rows do not divide": (made([line(dims=(33, 32), kind=2)], data=4096), "blocks of 32"),
    "rank": (made([line(dims=(1,) * 17)]), "17 dimensions"),
    "huge": (made([line(dims=(2**47, 2**47))]), "2^63"),
    "wrapping size": (made([line(dims=(2**40,))]), "truncated"),
    "outside": (made([line(offset=2**40)]), "truncated"),
    "misaligned": (made([line(offset=4)], data=32), "not aligned"),
    "overlap": (made([line("a"), line("b")], data=8), "overlap"),
    "same name": (made([line("a"), line("a", offset=32)], data=40), "stands twice"),
    "name not UTF-8": (made([line(b"\xff")]), "not text"),
    "name unprintable": (made([line("a\n")]), "printable"),
    "data cut": (made([line()], data=7), "should end at byte"),
}


@pytest.mark.parametrize("case", ODD)
def test_malformed(tmp_path: Path, case: str) -> None:
    data, reason = ODD[case]
    path = tmp_path / "odd.gguf"
    path.write_bytes(data)
    with sealed(), pytest.raises(CompileError) as caught:
        read_header(path)
    assert "odd.gguf" in str(caught.value) and reason in str(caught.value)


def test_hand_made_is_otherwise_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(made([line("a", (3, 2)), line("b", (), offset=32)], [FIELD], data=36))
    header = read_header(path)
    assert {key: info.shape for key, info in header.tensors.items()} == {"a": (2, 3), "b": ()}
    assert header.metadata == {"k": 7}


def test_text_that_is_not_utf8_stays_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(made([], [text("k") + struct.pack("<I", 8) + text(b"\xff\x00")]))
    assert read_header(path).metadata == {"k": b"\xff\x00"}


def test_every_truncation_and_random_damage(tmp_path: Path) -> None:
    whole = made([line("a", (3, 2)), line("b", (32, 2), kind=8, offset=32)], [FIELD], data=32 + 68)
    path, chance, refused = tmp_path / "a.gguf", random.Random(5), 0
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CompileError, match="truncated"):
            read_header(path)
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(200)] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            with sealed():
                read_header(path)
        except CompileError:
            refused += 1
    assert refused > 700
