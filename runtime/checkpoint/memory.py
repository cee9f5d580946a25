"""Fresh memory for large tensors, and transposing copies into it, at about the speed of a plain read."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Final

import torch

#: A huge page of the common machines, and its order: how often a page of 4 KB is doubled to make one.
HUGE: Final = 2 << 20
ORDER: Final = 9
#: The kernel's free lists, a line per zone: "Node 0, zone Normal", then the number of free blocks by order.
FREE: Final = Path("/proc/buddyinfo")
#: How many rows of the target a transposing copy writes at a time, and from how many elements on it does so.
ROWS: Final = 256
LARGE: Final = 1 << 14


def fresh(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor without values, in memory of its own.

    The first touch of each 4 KB costs a page fault, which takes longer than the copy that touches it. So
    large tensors stand in huge pages, where those lie ready: making room for one costs more than it saves.
    """
    size = prod(shape) * dtype.itemsize
    if size < 2 * HUGE or not hasattr(mmap, "MADV_HUGEPAGE") or 2 * size > _ready():
        return torch.empty(tuple(shape), dtype=dtype)
    area = mmap.mmap(-1, size + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = -torch.frombuffer(area, dtype=torch.uint8).data_ptr() % HUGE
    with suppress(OSError):
        area.madvise(mmap.MADV_HUGEPAGE, start, size // HUGE * HUGE)
    return torch.frombuffer(area, dtype=dtype, count=prod(shape), offset=start).view(tuple(shape))


def copy(target: torch.Tensor, source: torch.Tensor) -> None:
    """target := source, for tensors of one shape.

    A large matrix that lies the other way round goes through a buffer: rows a whole number of pages apart
    fall on the same few lines of the cache, unless they are first brought together.
    """
    if target.ndim == 2 and target.stride(0) == 1:
        target, source = target.T, source.T
    transposes = target.ndim == 2 and target.stride(1) == 1 and source.stride(0) == 1 != source.stride(1)
    if not transposes or target.numel() < LARGE:
        target.copy_(source)
        return
    buffer = source.new_empty(ROWS * source.shape[1])
    for start in range(0, target.shape[0], ROWS):
        rows = source[start : start + ROWS]
        near = buffer[: rows.numel()].view(rows.shape[::-1])
        near.copy_(rows.T)
        target[start : start + ROWS].copy_(near.T)


def _ready() -> int:
    """Bytes in huge pages that the kernel can give without moving others."""
    try:
        zones = FREE.read_text().splitlines()
    except OSError:
        return 0
    return (
        sum(int(count) << order for zone in zones for order, count in enumerate(zone.split()[4 + ORDER :]))
        * HUGE
    )
