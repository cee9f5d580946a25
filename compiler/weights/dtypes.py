"""Element types of checkpoints: torch's names, their sizes, and the names safetensors gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

#: Bytes per element, by torch dtype name. A type that is not here is not read.
ITEMSIZE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "bool": 1,
        "uint8": 1,
        "int8": 1,
        "uint16": 2,
        "int16": 2,
        "uint32": 4,
        "int32": 4,
        "uint64": 8,
        "int64": 8,
        "float8_e4m3fn": 1,
        "float8_e4m3fnuz": 1,
        "float8_e5m2": 1,
        "float8_e5m2fnuz": 1,
        "float8_e8m0fnu": 1,
        "float16": 2,
        "bfloat16": 2,
        "float32": 4,
        "float64": 8,
        "complex64": 8,
        "complex128": 16,
    }
)

#: safetensors name -> torch name, in the order in which the safetensors library lays tensors out (so that
#: a wide type never follows a narrow one, and every tensor is aligned).
SAFETENSORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "U64": "uint64",
        "I64": "int64",
        "F64": "float64",
        "C64": "complex64",
        "F32": "float32",
        "U32": "uint32",
        "I32": "int32",
        "BF16": "bfloat16",
        "F16": "float16",
        "U16": "uint16",
        "I16": "int16",
        "F8_E5M2FNUZ": "float8_e5m2fnuz",
        "F8_E4M3FNUZ": "float8_e4m3fnuz",
        "F8_E8M0": "float8_e8m0fnu",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2",
        "I8": "int8",
        "U8": "uint8",
        "BOOL": "bool",
    }
)

MAX_RANK: Final = 16
MAX_DIM: Final = 2**48
MAX_NAME: Final = 512


def shape_fault(shape: Sequence[object]) -> str:
    """Why `shape` cannot be a tensor's, or an empty string.

    Strides are 64-bit, so the product is bounded even where a dimension of zero makes the tensor empty.
    """
    if len(shape) > MAX_RANK:
        return f"it has {len(shape)} dimensions; at most {MAX_RANK} are read"
    span = 1
    for dim in shape:
        if type(dim) is not int or not 0 <= dim < MAX_DIM:
            return f"dimension {str(dim)[:40]} is not a whole number from 0 to 2^48"
        span *= max(dim, 1)
    return "" if span < 2**63 else "it has more than 2^63 elements"


def name_fault(name: object) -> str:
    """Why `name` cannot be a tensor's key, or an empty string."""
    if not isinstance(name, str):
        return "its name is not text"
    if not name or len(name) > MAX_NAME or not name.isprintable():
        return f"its name is not 1 to {MAX_NAME} printable characters"
    return ""


def count(shape: Sequence[int]) -> int:
    """Elements of a shape that `shape_fault` accepts."""
    total = 1
    for dim in shape:
        total *= dim
    return total
