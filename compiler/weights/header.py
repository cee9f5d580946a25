"""What a checkpoint file says about itself before a byte of a tensor is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a checkpoint: its key, element type, shape and the file that holds it."""

    key: str
    dtype: str  # a torch dtype name, "float32"; for GGUF the dtype its dequantiser yields
    shape: tuple[int, ...]
    file: Path


@dataclass(frozen=True)
class Header:
    """All tensors of a checkpoint and its metadata (GGUF fields, safetensors `__metadata__`)."""

    path: Path
    format: str  # "safetensors" | "torch" | "torchscript" | "gguf"
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, Any]
