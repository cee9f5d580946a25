"""Generations: a kill, a full disk or a flipped bit leave the old state or the new one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import CompileError
from runtime.training import generations
from tests.training.kills import judge, save, state


def test_killed_at_random_moments() -> None:
    """In a process of its own: it forks."""
    command = [sys.executable, "-m", "tests.training.kills", "--points", "20"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("call", range(12))
def test_a_disk_that_fails(call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flush fails in its turn, as on a disk that became full."""
    save(tmp_path, 1)
    left, flush = [call], os.fsync

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise OSError(28, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    try:
        save(tmp_path, 2)
        failed = False
    except CompileError as error:
        assert "No space left on device" in str(error)
        failed = True
    monkeypatch.undo()
    assert failed or left[0] >= 0
    assert judge(tmp_path, 1) in ((1, 2) if failed else (2,))
    assert list((tmp_path / generations.FOLDER).glob(".*")) == []


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage())
    with pytest.raises(CompileError, match="bytes are needed, 100 are free"):
        save(tmp_path, 2)
    assert judge(tmp_path, 1) == 1


class _Usage:
    free = 100


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "state.json", "SHA256SUMS"])
def test_a_flipped_bit(name: str, tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    file = tmp_path / "last" / name
    for place in (0, file.stat().st_size // 2, file.stat().st_size - 2):
        data = bytearray(file.read_bytes())
        data[place] ^= 1
        file.write_bytes(data)
        found, damaged = generations.newest(tmp_path, "last")
        assert found is not None and (found.step, [g.step for g in damaged]) == (1, [2])
        data[place] ^= 1
        file.write_bytes(data)
    found, _ = generations.newest(tmp_path, "last")
    assert found is not None and found.step == 2


def test_a_step_that_is_saved_again(tmp_path: Path) -> None:
    """A run repeated from an earlier state never writes into a generation that stands."""
    save(tmp_path, 1)
    save(tmp_path, 1)
    found, damaged = generations.newest(tmp_path, "last")
    assert found is not None and (found.again, damaged) == (1, [])


def test_a_run_that_started_over_keeps_what_it_saves(tmp_path: Path) -> None:
    """What stands from later steps is damaged: it goes, not the generation just written."""
    for step in (100, 150):
        save(tmp_path, step)
        (tmp_path / "last" / "state.safetensors").write_bytes(b"damaged")
    assert generations.newest(tmp_path, "last")[0] is None
    for step in (50, 60):
        save(tmp_path, step)
        assert judge(tmp_path, step) == step
        assert (tmp_path / "last").resolve().name == f"last-{step:08d}"
    assert [g.step for g in generations.generations(tmp_path, "last")] == [60, 50]


def test_a_step_that_is_saved_into_a_gap(tmp_path: Path) -> None:
    """Of one step, too, the generation that the link points to is the newest."""
    save(tmp_path, 1)
    generations.commit(tmp_path, "last", 1, 0, state(1).write)
    generations.prune(tmp_path, "last", 1)
    generations.commit(tmp_path, "last", 1, 0, state(1).write)
    generations.prune(tmp_path, "last", 1)
    assert [g.path for g in generations.generations(tmp_path, "last")] == [(tmp_path / "last").resolve()]
