"""Fresh memory and transposing copies."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from runtime.checkpoint import memory
from runtime.checkpoint.memory import HUGE, ROWS, copy, fresh

BIG = (3, 2 * HUGE // 4 + 5)
#: Order 9 has 5 free blocks, order 10 has 7 in the one zone and 1 in the other.
ZONES = "Node 0, zone   DMA  1 1 1 1 1 1 1 1 1 0 1\nNode 0, zone Normal  9 9 9 9 9 9 9 9 9 5 7\n"


@pytest.fixture
def plenty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine's memory looks like."""
    (tmp_path / "free").write_text(ZONES)
    monkeypatch.setattr(memory, "FREE", tmp_path / "free")


@pytest.mark.usefixtures("plenty")
@pytest.mark.parametrize("shape", [(), (0,), (5, 7), BIG], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_fresh_memory_is_a_tensor_of_its_own(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    first, second = fresh(shape, dtype), fresh(shape, dtype)
    assert first.shape == shape and first.dtype is dtype and first.is_contiguous()
    assert first.storage_offset() == 0
    assert first.untyped_storage().nbytes() == first.numel() * dtype.itemsize
    first.fill_(1.0)
    second.fill_(2.0)
    assert bool((first == 1).all()) and bool((second == 2).all())


@pytest.mark.usefixtures("plenty")
@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no huge pages")
def test_large_tensors_begin_with_a_page() -> None:
    addresses = [fresh(BIG, torch.float32).data_ptr() for _ in range(3)]
    assert [address % HUGE for address in addresses] == [0, 0, 0]


@pytest.mark.usefixtures("plenty")
def test_huge_pages_are_asked_for_where_twice_as_many_lie_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Area(mmap.mmap):
        def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
            asked.append(length)
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 14, raising=False)
    monkeypatch.setattr(mmap, "mmap", Area)
    half = (5 + 2 * 7 + 2 * 1) * HUGE // 2
    assert fresh((half,), torch.uint8).shape == (half,)
    assert asked == [half // HUGE * HUGE] and half % HUGE
    fresh((half + 1,), torch.uint8)
    monkeypatch.setattr(memory, "FREE", Path("/nowhere/at/all"))
    fresh(BIG, torch.float32)
    assert len(asked) == 1


@pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS, 2 * ROWS + 3])
@pytest.mark.parametrize("columns", [1, ROWS + 1])
def test_copies_between_layouts(rows: int, columns: int) -> None:
    wide = torch.randn(rows, 3 * columns)
    source = wide[:, columns : 2 * columns].T
    target = torch.full((columns, rows), torch.nan)
    copy(target, source)
    assert torch.equal(target, source)
    back = torch.full((rows, 3 * columns), torch.nan)
    copy(back[:, columns : 2 * columns].T, target)
    assert torch.equal(back[:, columns : 2 * columns], wide[:, columns : 2 * columns])
    assert bool(back[:, :columns].isnan().all()) and bool(back[:, 2 * columns :].isnan().all())
    half = torch.full((columns, rows), torch.nan, dtype=torch.float16)
    copy(half, source)
    assert torch.equal(half, source.half())


@pytest.mark.parametrize("shape", [(), (3,), (70, 90, 4)], ids=str)
def test_copies_of_other_ranks(shape: tuple[int, ...]) -> None:
    source = torch.randn(shape)
    target = torch.full(shape[::-1], torch.nan).permute(tuple(reversed(range(len(shape)))))
    copy(target, source)
    assert torch.equal(target, source)
