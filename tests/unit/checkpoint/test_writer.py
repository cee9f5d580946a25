"""Writing: the library's bytes, and what is left when things go wrong."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.readers import read_header
from runtime.checkpoint.layout import INDEX, SINGLE, Entry
from runtime.checkpoint.reader import open_checkpoint
from runtime.checkpoint.staging import SUMS
from runtime.checkpoint.writer import TensorStream, write_safetensors
from tests.unit.checkpoint.test_safetensors import bits, example


def small(value: float) -> TensorStream:
    return TensorStream.of({"a": torch.full((2, 3), value), "b": torch.full((5,), value), "c": torch.ones(1)})


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def value(folder: Path) -> float:
    return float(open_checkpoint(read_header(folder)).tensor("b")[4])


def test_bytes_are_those_of_the_library(tmp_path: Path) -> None:
    save_file(example(3), tmp_path / "theirs", metadata={"format": "pt"})
    checkpoint = open_checkpoint(read_header(tmp_path / "theirs"))
    keys = sorted(checkpoint.header.tensors, key=lambda key: key[::-1])
    tensors = {key: checkpoint.tensor(key) for key in keys}
    assert write_safetensors(tmp_path / "out", TensorStream.of(tensors)) == (tmp_path / "out" / SINGLE,)
    assert (tmp_path / "out" / SINGLE).read_bytes() == (tmp_path / "theirs").read_bytes()
    assert files(tmp_path / "out") == {SINGLE, SUMS}


def test_awkward_names_and_metadata(tmp_path: Path) -> None:
    tensors = {
        '"quoted" \\ é\u2028'.replace("\u2028", "/"): torch.ones(1),
        "z": torch.zeros(2),
        "Z": torch.zeros(3),
    }
    metadata = {"note": 'line\nbreak\t"x" \x7f é \x01'}
    save_file(tensors, tmp_path / "theirs", metadata=metadata)
    write_safetensors(tmp_path / "out", TensorStream.of(tensors, metadata))
    assert (tmp_path / "out" / SINGLE).read_bytes() == (tmp_path / "theirs").read_bytes()


def test_views_are_written_as_they_read(tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    tensors = {"t": base.t(), "part": base[1:3, 2:5], "row": base[:, 1], "wide": torch.ones(1).expand(3, 2)}
    tensors["conj"] = torch.randn(2, dtype=torch.complex64).conj()
    tensors["parameter"] = torch.nn.Parameter(base)
    write_safetensors(tmp_path / "out", TensorStream.of(tensors))
    found = load_file(tmp_path / "out" / SINGLE)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)


def test_shards(tmp_path: Path) -> None:
    """24, 20 and 4 bytes at 24 a shard: one, then two."""
    written = write_safetensors(tmp_path / "out", small(2.0), max_shard_bytes=24)
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert [path.name for path in written] == [*names, INDEX]
    text = (tmp_path / "out" / INDEX).read_text()
    assert json.loads(text) == {
        "metadata": {"total_size": 48},
        "weight_map": {"a": names[0], "b": names[1], "c": names[1]},
    }
    assert text.endswith("\n}\n") and value(tmp_path / "out") == 2.0
    assert load_file(tmp_path / "out" / names[1]).keys() == {"b", "c"}


def test_each_tensor_is_fetched_once_and_none_is_kept(tmp_path: Path) -> None:
    import weakref

    fetched: list[str] = []
    alive: list[weakref.ref[Any]] = []

    def fetch(key: str) -> torch.Tensor:
        assert all(ref() is None for ref in alive), "the tensor before is still in memory"
        fetched.append(key)
        made = torch.full((3, 2), float(len(fetched))).t()
        alive.append(weakref.ref(made.untyped_storage()))
        return made

    entries = [Entry(key, "float32", (2, 3)) for key in "cab"]
    write_safetensors(tmp_path / "out", TensorStream(entries, fetch))
    assert fetched == ["a", "b", "c"]


def test_extra_files_and_sums(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "out", small(1.0), extra={"config.json": b"{}"})
    assert files(tmp_path / "out") == {SINGLE, "config.json", SUMS}
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", SUMS], cwd=tmp_path / "out", capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.count(": OK") == 2, done.stderr


def test_over_the_file_that_is_mapped(tmp_path: Path) -> None:
    save_file({"a": torch.arange(1000.0), "b": torch.ones(5)}, tmp_path / SINGLE, metadata={"format": "pt"})
    (tmp_path / "tokenizer.json").write_text("keep")
    checkpoint = open_checkpoint(read_header(tmp_path))
    entries = [Entry("b", "float32", (5,)), Entry("a", "float32", (1000,))]
    doubled = TensorStream(entries, lambda key: checkpoint.tensor(key) * 2)
    write_safetensors(tmp_path, doubled, force=True)
    assert torch.equal(load_file(tmp_path / SINGLE)["a"], torch.arange(1000.0) * 2)
    assert torch.equal(checkpoint.tensor("a"), torch.arange(1000.0)), "the mapping still shows the old file"
    assert (tmp_path / "tokenizer.json").read_text() == "keep"


def test_its_own_files_are_replaced(tmp_path: Path) -> None:
    """Single to shards, to more shards, and back: never a stale file, never two candidates."""
    out = tmp_path / "out"
    for number, limit in enumerate((10**6, 24, 10, 24, 10**6)):
        write_safetensors(out, small(float(number)), max_shard_bytes=limit)
        assert value(out) == number
        expected = {10**6: {SINGLE}, 24: {INDEX}, 10: {INDEX}}[limit]
        shards = {10**6: 0, 24: 2, 10: 3}[limit]
        listed = {f"model-{i:05d}-of-{shards:05d}.safetensors" for i in range(1, shards + 1)}
        assert files(out) == expected | listed | {SUMS}


@pytest.mark.parametrize("how", ["foreign", "changed", "link", "shard", "config", "sums"])
def test_foreign_files_are_refused(tmp_path: Path, how: str) -> None:
    out = tmp_path / "out"
    write_safetensors(out, small(1.0))
    if how == "foreign":
        (out / SUMS).unlink()
    elif how == "changed":
        save_file({"b": torch.full((5,), 9.0)}, out / SINGLE)
    elif how == "link":
        (out / SINGLE).rename(tmp_path / "elsewhere")
        (out / SINGLE).symlink_to(tmp_path / "elsewhere")
    elif how == "shard":
        (out / "model-00001-of-00009.safetensors").write_bytes(b"x")
    elif how == "config":
        (out / "config.json").write_text("{}")
    else:
        (out / SUMS).write_text("0  readme\n")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    extra = {"config.json": b"[]"}
    with pytest.raises(CompileError) as caught:
        write_safetensors(out, small(2.0), extra=extra)
    assert caught.value.diagnostics[0].code == "not-writable" and "force" in str(caught.value)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    write_safetensors(out, small(2.0), extra=extra, force=True)
    assert value(out) == 2.0 and files(out) == {SINGLE, SUMS, "config.json"}
    if how == "link":
        assert value(tmp_path / "elsewhere") == 1.0, "a link is replaced, what it leads to is not"


def test_the_target_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(CompileError, match="a file, not a folder"):
        write_safetensors(tmp_path / "out", small(1.0), force=True)


def test_too_small_a_disk_is_noticed_first(tmp_path: Path) -> None:
    shape = (2**40, 2**10)

    def fetch(_: str) -> torch.Tensor:
        raise AssertionError("nothing may be computed")

    with pytest.raises(CompileError, match="bytes are needed"):
        write_safetensors(tmp_path / "out", TensorStream([Entry("a", "float32", shape)], fetch))
    assert files(tmp_path) == set()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`failing(n)`: the n-th flush to disk fails with ENOSPC."""
    real = os.fsync

    def arm(count: int) -> None:
        calls = iter(range(10**6))

        def fsync(descriptor: int) -> None:
            if next(calls) == count:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    yield arm
    monkeypatch.setattr(os, "fsync", real)


@pytest.mark.parametrize("at", range(5))
def test_a_full_disk_leaves_the_old_files(tmp_path: Path, failing: Any, at: int) -> None:
    """Shard, shard, index, sums, temporary folder: all before the first file is moved."""
    out = tmp_path / "out"
    write_safetensors(out, small(1.0))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    failing(at)
    with pytest.raises(CompileError) as caught:
        write_safetensors(out, small(2.0), max_shard_bytes=24)
    assert "No space left on device; what was there is unchanged" in str(caught.value)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(CompileError):
        failing(at)
        write_safetensors(tmp_path / "new", small(2.0), max_shard_bytes=24)
    assert files(tmp_path) == {"out"}


def test_a_failing_fetch_leaves_nothing(tmp_path: Path) -> None:
    def fetch(key: str) -> torch.Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_safetensors(tmp_path / "out", TensorStream([Entry("a", "float32", (2,))], fetch))
    assert files(tmp_path) == set()


class _Died(BaseException):
    """Stands for the process ending at this call."""


def _dying(real: Callable[..., Any], steps: Iterator[int], last: int) -> Callable[..., Any]:
    def step(*arguments: Any, **options: Any) -> Any:
        if next(steps) >= last:
            raise _Died
        return real(*arguments, **options)

    return step


@pytest.mark.parametrize("limits", [(10**6, 10**6), (10**6, 24), (24, 10**6), (24, 10), (24, 24)])
def test_death_at_every_step_leaves_old_new_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]
) -> None:
    """Whatever step of the commit is the last, no reader sees a mixture of the two."""
    old, new = limits
    for last in range(12):
        out = tmp_path / str(last)
        write_safetensors(out, small(1.0), max_shard_bytes=old)
        with monkeypatch.context() as patch:
            steps = iter(range(10**6))
            patch.setattr(os, "replace", _dying(os.replace, steps, last))
            patch.setattr(Path, "unlink", _dying(Path.unlink, steps, last))
            try:
                write_safetensors(out, small(2.0), max_shard_bytes=new)
                assert value(out) == 2.0
                return
            except _Died:
                pass
        try:
            checkpoint = open_checkpoint(read_header(out))
        except CompileError as error:
            assert {d.code for d in error.diagnostics} <= {"not-found", "ambiguous-name"}
            assert limits != (10**6, 10**6), "one file is replaced in one step"
        else:
            assert {float(checkpoint.tensor(key)[-1].reshape(-1)[0]) for key in "ab"} in ({1.0}, {2.0})
    raise AssertionError("the commit has more steps than were tried")


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    tensors = {
        "a\n": torch.ones(1),
        "b": torch.ones(1, dtype=torch.complex128),
        "__metadata__": torch.ones(1),
    }
    with pytest.raises(CompileError) as caught:
        write_safetensors(tmp_path / "out", TensorStream.of(tensors))
    assert len(caught.value.diagnostics) == 3 and "complex128" in str(caught.value)
    twice = [Entry("a", "float32", (1,))] * 2
    with pytest.raises(CompileError, match="stands twice"):
        write_safetensors(tmp_path / "out", TensorStream(twice, lambda _: torch.ones(1)))
    assert files(tmp_path) == set()


def test_transformers_opens_what_was_written(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12
    )
    model = BertModel(config)
    model.save_pretrained(tmp_path / "theirs")
    checkpoint = open_checkpoint(read_header(tmp_path / "theirs"))
    tensors = {key: checkpoint.tensor(key) for key in checkpoint.header.tensors}
    stream = TensorStream.of(tensors, checkpoint.header.metadata)
    config_json = (tmp_path / "theirs" / "config.json").read_bytes()
    write_safetensors(tmp_path / "one", stream)
    assert (tmp_path / "one" / SINGLE).read_bytes() == (tmp_path / "theirs" / SINGLE).read_bytes()
    write_safetensors(tmp_path / "many", stream, extra={"config.json": config_json}, max_shard_bytes=900)
    found = BertModel.from_pretrained(tmp_path / "many").state_dict()
    expected = model.state_dict()
    assert found.keys() == expected.keys()
    assert all(bits(found[key]) == bits(expected[key]) for key in expected)
