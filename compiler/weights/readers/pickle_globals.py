"""Inert stand-ins for what a checkpoint's pickle names, and the closed table of the names it may use.

A name outside the table is a fault. Nothing is ever imported: the table's values are data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from compiler.weights.dtypes import ITEMSIZE

Kind = Literal[
    "storage",
    "dtype",
    "tensor_v2",
    "tensor_v3",
    "parameter",
    "ordered",
    "size",
    "device",
    "tag",
    "list",
    "class",
]


@dataclass(frozen=True)
class Global:
    """A name that the table allows. `dtype` is set for storages and dtypes; untyped storages count bytes."""

    name: str
    kind: Kind
    dtype: str = ""


@dataclass(frozen=True)
class Storage:
    """A run of elements in a member of the archive."""

    key: str
    dtype: str  # "uint8" for an untyped storage
    numel: int


@dataclass(frozen=True)
class Tensor:
    """A strided view of a storage. `dtype` is its own, `start` is in elements."""

    storage: Storage
    dtype: str
    start: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Ordered(dict[Any, Any]):
    """An OrderedDict: may carry attributes (state_dict's `_metadata`), which are dropped."""


@dataclass(frozen=True, eq=False)
class Tagged:
    """A container with the TorchScript type it was annotated with."""

    value: Any
    type: str


@dataclass(eq=False)
class Object:
    """An instance of a TorchScript class: its attributes, and nothing of its code."""

    name: str
    attributes: dict[str, Any] | None = field(default=None)


_STORAGES: Final[Mapping[str, str]] = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


def _table() -> dict[str, Global]:
    kinds: dict[str, Kind] = {
        "torch._utils _rebuild_tensor_v2": "tensor_v2",
        "torch._utils _rebuild_tensor_v3": "tensor_v3",
        "torch._utils _rebuild_parameter": "parameter",
        "collections OrderedDict": "ordered",
        "torch Size": "size",
        "torch device": "device",
        "torch.jit._pickle restore_type_tag": "tag",
        "torch.jit._pickle build_intlist": "list",
        "torch.jit._pickle build_tensorlist": "list",
        "torch.jit._pickle build_doublelist": "list",
        "torch.jit._pickle build_boollist": "list",
    }
    table = {name: Global(name, kind) for name, kind in kinds.items()}
    for name, dtype in _STORAGES.items():
        table[f"torch {name}"] = Global(f"torch {name}", "storage", dtype)
    table["torch.storage UntypedStorage"] = Global("torch.storage UntypedStorage", "storage", "uint8")
    for dtype in ITEMSIZE:
        table[f"torch {dtype}"] = Global(f"torch {dtype}", "dtype", dtype)
    return table


GLOBALS: Final[Mapping[str, Global]] = MappingProxyType(_table())


def find(module: str, name: str, *, scripted: bool) -> Global | None:
    """What `module.name` stands for, or None when it is not allowed. Only TorchScript has classes."""
    if scripted and (module == "__torch__" or module.startswith("__torch__.")):
        return Global(f"{module}.{name}", "class")
    return GLOBALS.get(f"{module} {name}")
