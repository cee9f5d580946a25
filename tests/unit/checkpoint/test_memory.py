"""Fresh memory and transposing copies."""

from __future__ import annotations

import mmap

import pytest
import torch

from runtime.checkpoint.memory import BLOCK, HUGE, copy, fresh

LARGE = (3, 2 * HUGE // 4 + 5)


@pytest.mark.parametrize("shape", [(), (0,), (5, 7), LARGE], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_fresh_memory_is_a_tensor_of_its_own(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    first, second = fresh(shape, dtype), fresh(shape, dtype)
    assert first.shape == shape and first.dtype is dtype and first.is_contiguous()
    assert first.storage_offset() == 0
    assert first.untyped_storage().nbytes() == first.numel() * dtype.itemsize
    first.fill_(1.0)
    second.fill_(2.0)
    assert bool((first == 1).all()) and bool((second == 2).all())


def test_large_tensors_begin_with_a_page() -> None:
    assert fresh(LARGE, torch.float32).data_ptr() % HUGE == 0


def test_a_system_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Area(mmap.mmap):
        def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Area)
    assert fresh(LARGE, torch.float32).shape == LARGE
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert fresh(LARGE, torch.float32).shape == LARGE


@pytest.mark.parametrize("rows", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize("columns", [1, BLOCK + 1])
def test_copies_between_layouts(rows: int, columns: int) -> None:
    wide = torch.randn(2, rows, 3 * columns)
    source = wide[:, :, columns : 2 * columns].transpose(1, 2)
    target = torch.full((2, columns, rows), torch.nan)
    copy(target, source)
    assert torch.equal(target, source)
    halves = torch.full((2, rows, columns), torch.nan, dtype=torch.float16)
    copy(halves.transpose(1, 2), source)
    assert torch.equal(halves.transpose(1, 2), source.half())


def test_a_copy_of_one_number() -> None:
    target = torch.zeros(())
    copy(target, torch.tensor(3.0))
    assert target.item() == 3.0
