"""Real checkpoints: every value, against the libraries that usually read them."""

from __future__ import annotations

from pathlib import Path

import gguf
import gguf.quants
import numpy as np
import torch
from safetensors.torch import load_file

from compiler.weights.dtypes import count
from compiler.weights.readers import read_header
from runtime.checkpoint.layout import SINGLE
from runtime.checkpoint.reader import Checkpoint, open_checkpoint
from runtime.checkpoint.writer import TensorStream, write_safetensors
from tests.artifacts import need
from tests.unit.checkpoint.sealed import sealed


def opened(path: Path, tensors: int, values: int) -> Checkpoint:
    with sealed():
        header = read_header(path)
    assert len(header.tensors) == tensors
    assert sum(count(info.shape) for info in header.tensors.values()) == values
    assert read_header(path.parent) == header
    return open_checkpoint(header)


def same(checkpoint: Checkpoint, expected: dict[str, torch.Tensor]) -> None:
    assert checkpoint.header.tensors.keys() == expected.keys()
    for key, value in expected.items():
        found = checkpoint.tensor(key)
        assert found.dtype == value.dtype and torch.equal(found, value), key


def test_minilm_safetensors(tmp_path: Path) -> None:
    path = need("minilm")
    checkpoint = opened(path, 104, 22_713_728)
    same(checkpoint, load_file(path))
    tensors = {key: checkpoint.tensor(key) for key in checkpoint.header.tensors}
    write_safetensors(tmp_path / "out", TensorStream.of(tensors, checkpoint.header.metadata))
    assert (tmp_path / "out" / SINGLE).read_bytes() == path.read_bytes()


def test_antiberty_torch() -> None:
    path = need("antiberty")
    checkpoint = opened(path, 149, 26_040_892)
    same(checkpoint, torch.load(path, weights_only=True, map_location="cpu"))
    checkpoint.verify()


def test_smollm2_gguf() -> None:
    path = need("smollm2")
    checkpoint = opened(path, 272, 134_515_008)
    reader = gguf.GGUFReader(path)
    assert [tensor.name for tensor in reader.tensors] == list(checkpoint.header.tensors)
    for tensor in reader.tensors:
        found = checkpoint.tensor(tensor.name)
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert found.dtype == torch.float32 and np.array_equal(found.numpy(), expected), tensor.name
    metadata = checkpoint.header.metadata
    assert metadata["general.architecture"] == "llama" and len(metadata["tokenizer.ggml.tokens"]) == 49152
    assert metadata["llama.rope.freq_base"] == 100000.0
