"""torch dtypes by the names that headers use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import torch

from compiler.weights.dtypes import ITEMSIZE

_ALL: Final = (value for value in vars(torch).values() if isinstance(value, torch.dtype))

#: Each name of `compiler.weights.dtypes.ITEMSIZE` that this torch has.
DTYPES: Final[Mapping[str, torch.dtype]] = MappingProxyType(
    {name: dtype for dtype in _ALL if (name := str(dtype).removeprefix("torch.")) in ITEMSIZE}
)


def name_of(dtype: torch.dtype) -> str:
    """`float32` for torch.float32."""
    return str(dtype).removeprefix("torch.")
