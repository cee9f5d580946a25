"""Fresh memory for large tensors, and copies between layouts, both at the speed of a plain read."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from typing import Final

import torch

#: A huge page of the common machines; from twice this size on, a tensor is asked for in such pages.
HUGE: Final = 2 << 20
#: How many neighbours of the target are written per sweep over the source: their lines stay in the cache.
BLOCK: Final = 128


def fresh(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor without values, in memory of its own.

    The first touch of each 4 KB costs a page fault, which takes longer than the copy that touches it. Where
    the system gives huge pages on request, large tensors stand in those.
    """
    size = prod(shape) * dtype.itemsize
    if size < 2 * HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(tuple(shape), dtype=dtype)
    area = mmap.mmap(-1, size + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):
        area.madvise(mmap.MADV_HUGEPAGE)
    address = torch.frombuffer(area, dtype=torch.uint8).data_ptr()
    return torch.frombuffer(area, dtype=dtype, count=prod(shape), offset=-address % HUGE).view(tuple(shape))


def copy(target: torch.Tensor, source: torch.Tensor) -> None:
    """target := source, for tensors of one shape. Where it transposes, in stripes."""
    axis, other = _inner(target), _inner(source)
    if axis is None or other is None or axis == other:
        target.copy_(source)
        return
    for start in range(0, target.shape[axis], BLOCK):
        length = min(BLOCK, target.shape[axis] - start)
        target.narrow(axis, start, length).copy_(source.narrow(axis, start, length))


def _inner(tensor: torch.Tensor) -> int | None:
    """The axis along which elements are neighbours in memory."""
    axes = (a for a in range(tensor.ndim) if tensor.shape[a] > 1 and tensor.stride(a) == 1)
    return next(axes, None)
