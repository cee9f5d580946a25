"""What a checkpoint file says about itself before a byte of a tensor is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Extent:
    """The bytes of a tensor in its file: a run of them, and the tensor as a strided view of the run."""

    offset: int  # of the run, from the start of the file
    nbytes: int  # of the run
    stride: tuple[int, ...] | None = None  # in elements; None: row-major
    start: int = 0  # the view's first element, counted from the start of the run
    encoding: str = ""  # a GGUF block format such as "Q4_1"; empty: plain elements
    crc32: int | None = None  # of the run, where the container records one


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a checkpoint: its key, element type, shape and the file that holds it."""

    key: str
    dtype: str  # a torch dtype name, "float32"; for GGUF the dtype its dequantiser yields
    shape: tuple[int, ...]
    file: Path
    extent: Extent | None = None  # None only for a header that describes no file


@dataclass(frozen=True)
class Header:
    """All tensors of a checkpoint and its metadata.

    `metadata` holds GGUF fields, safetensors `__metadata__`, or what a torch file stores beside its tensors
    (numbers and strings; other values as a short description). `containers` names the top-level mappings
    of a torch file, so that a weight map can choose one to unwrap.
    """

    path: Path
    format: str  # "safetensors" | "torch" | "torchscript" | "gguf"
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, Any]
    containers: tuple[str, ...] = ()
