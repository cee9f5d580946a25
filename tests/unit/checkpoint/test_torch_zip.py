"""PyTorch archives read as data: bit-equal to torch.load, and hostile ones refused without a side effect."""

from __future__ import annotations

import io
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.dtypes import ITEMSIZE
from compiler.weights.readers import read_header
from runtime.checkpoint.dtypes import DTYPES
from runtime.checkpoint.reader import open_checkpoint
from tests.unit.checkpoint.archives import number, state_dict, storage, tensor, text, torch_file
from tests.unit.checkpoint.sealed import sealed
from tests.unit.checkpoint.test_safetensors import bits


def example() -> dict[str, torch.Tensor]:
    """Every dtype, scalars, empty tensors, parameters, views of one storage in several orders."""
    torch.manual_seed(1)
    tensors: dict[str, torch.Tensor] = OrderedDict()
    for at, dtype in enumerate(ITEMSIZE):
        raw = torch.randint(0, 2 if dtype == "bool" else 256, (3, 2 + at, 16), dtype=torch.uint8)
        tensors[f"block.{at}.{dtype}"] = raw.view(DTYPES[dtype])
    shared = torch.randn(7, 5)
    tensors |= {
        "shared": shared,
        "shared.t": shared.t(),
        "shared.part": shared[2:6, 1:4],
        "row": shared[:, 2],
    }
    tensors |= {
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 4),
        "weight": torch.nn.Parameter(shared[:2]),
    }
    tensors["expanded"] = torch.arange(512).expand(1, -1)
    return tensors


def loaded(path: Path, unwrap: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    with sealed():
        checkpoint = open_checkpoint(read_header(path, unwrap))
        return {key: checkpoint.tensor(key) for key in checkpoint.header.tensors}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_equal_to_torch_load(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "model.bin"
    torch.save(example(), path, pickle_protocol=protocol)
    torch.save(example(), tmp_path / "two.bin")  # torch.load itself reads no frames with weights_only
    expected = torch.load(tmp_path / "two.bin", weights_only=True)
    found = loaded(path)
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and found[key].stride() == value.stride(), key
        assert found[key].shape == value.shape and bits(found[key]) == bits(value), key
    open_checkpoint(read_header(path)).verify()


def test_shared_storage_stays_shared(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    torch.save(example(), path)
    found = loaded(path)
    one, other = found["shared"].untyped_storage(), found["shared.t"].untyped_storage()
    assert one.data_ptr() == other.data_ptr() and one.nbytes() == 7 * 5 * 4
    found["shared"][1, 2] = 77.0
    assert found["shared.t"][2, 1] == 77.0
    assert torch.load(path, weights_only=True)["shared"][1, 2] != 77.0, "the file must not change"


def test_tensors_outlive_the_checkpoint_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    torch.save({"a": torch.arange(5)}, path)
    value = loaded(path)["a"]
    path.unlink()
    assert value.tolist() == [0, 1, 2, 3, 4]


def test_a_module_with_metadata(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    path = tmp_path / "model.bin"
    torch.save(module.state_dict(), path)
    expected = module.state_dict()
    found = loaded(path)
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_nested_checkpoints_are_unwrapped(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    inner, ema = {"w": torch.ones(2, 3), "steps": 5, "note": [1]}, {"w": torch.zeros(3)}
    torch.save({"model": inner, "ema": ema, "epoch": 3, "name": "x", "lr": 0.5, "none": None}, path)
    header = read_header(path, unwrap=("state_dict", "model"))
    assert {key: info.shape for key, info in header.tensors.items()} == {"w": (2, 3)}
    assert header.containers == ("model", "ema")
    beside = {"epoch": 3, "name": "x", "lr": 0.5, "none": None, "ema": "a dict of 1"}
    assert header.metadata == {**beside, "steps": 5, "note": "a list of 1"}
    assert read_header(path, unwrap=("ema", "model")).tensors["w"].shape == (3,)
    flat = read_header(path)
    assert (
        not flat.tensors and flat.containers == ("model", "ema") and flat.metadata["model"] == "a dict of 3"
    )


class _Attack:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _pickled(value: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    pickle.Pickler(buffer, protocol=protocol).dump(value)
    return buffer.getvalue()


def _hostile(marker: Path) -> dict[str, bytes]:
    """Streams that would act, exploit an allowed constructor, or confuse the machine."""
    import os

    touch = f"touch {marker}"
    call = b"(" + text(touch) + b"tR"
    od, v2 = b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n"
    parameter = b"ctorch._utils\n_rebuild_parameter\n"
    streams = {f"os.system, protocol {p}": _pickled({"a": _Attack(os.system, touch)}, p) for p in range(6)}
    streams |= {
        "exec": _pickled({"a": _Attack(exec, f"open({str(marker)!r}, 'w')")}),
        "eval": _pickled([_Attack(eval, f"open({str(marker)!r}, 'w')")]),
        "getattr": _pickled(_Attack(getattr, "x", "upper")),
        "GLOBAL": b"\x80\x02cos\nsystem\n" + call + b".",
        "STACK_GLOBAL": b"\x80\x04" + text("os") + text("system") + b"\x93" + call + b".",
        "STACK_GLOBAL of numbers": b"\x80\x04K\x01K\x02\x93.",
        "INST": b"\x80\x02(" + text(touch) + b"ios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\n" + text(touch) + b"o.",
        "EXT1": b"\x80\x02\x82\x01" + call + b".",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00" + call + b".",
        "NEWOBJ of an allowed name": b"\x80\x02" + od + b")\x81.",
        "NEWOBJ_EX": b"\x80\x04" + od + b")}\x92.",
        "PERSID": b"\x80\x02Pstorage\n.",
        "BUILD on a list": b"\x80\x02]}b.",
        "BUILD on a plain dict": b"\x80\x02}}b.",
        "BUILD with a list": b"\x80\x02" + od + b")R]b.",
        "BUILD on a constructor": b"\x80\x02" + od + b"}b.",
        "BUILD on a tensor": b"\x80\x02" + tensor() + b"}b.",
        "torch.load": b"\x80\x02ctorch\nload\n" + call + b".",
        "torch.jit.load": b"\x80\x02ctorch.jit\nload\n" + call + b".",
        "dotted name": b"\x80\x04" + text("torch") + text("storage.os.system") + b"\x93" + call + b".",
        "name with a space": b"\x80\x02ctorch.storage os\nUntypedStorage\n.",
        "class without TorchScript": b"\x80\x02c__torch__\nM\n)\x81}b.",
        "dtype called": b"\x80\x02ctorch\nfloat32\n)R.",
        "storage called": b"\x80\x02ctorch\nFloatStorage\n(K\x05tR.",
        "OrderedDict of arguments": b"\x80\x02" + od + b"(]tR.",
        "tensor of nothing": b"\x80\x02" + v2 + b")R.",
        "tensor of text": b"\x80\x02" + v2 + b"(" + text("x") * 6 + b"tR.",
        "tensor of a list": b"\x80\x02" + v2 + b"]R.",
        "parameter of text": b"\x80\x02" + parameter + b"(" + text("x") + b"\x89}tR.",
        "call of a number": b"\x80\x02K\x01)R.",
        "persistent id of text": b"\x80\x02" + text("storage") + b"Q.",
        "persistent id of a wrong word": b"\x80\x02("
        + text("stor") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x06tQ.",
        "persistent id with a class": b"\x80\x02("
        + text("storage") + b"ccollections\nOrderedDict\n" + text("0") + text("cpu") + b"K\x06tQ.",
        "negative storage": state_dict(a=tensor(held=storage(numel=-1))),
        "storage of a bool": b"\x80\x02("
        + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"\x88tQ.",
        "two views of one key": state_dict(a=tensor(), b=tensor(held=storage(kind="DoubleStorage"))),
        "memo of nothing": b"\x80\x02h\x07.",
        "stack underflow": b"\x80\x02R.",
        "pop below a mark": b"\x80\x02K\x01(0.",
        "no mark": b"\x80\x02t.",
        "left over": b"\x80\x02K\x01K\x02.",
        "open mark": b"\x80\x02(K\x01.",
        "nothing": b"",
        "no STOP": b"\x80\x02}",
        "bytes behind STOP": b"\x80\x02}.}",
        "duplicate key": b"\x80\x02}(" + text("a") + b"K\x01" + text("a") + b"K\x02u.",
        "odd items": b"\x80\x02}(K\x01u.",
        "items of a tuple": b"\x80\x02)K\x01K\x02s.",
        "append to a dict": b"\x80\x02}K\x01a.",
        "unhashable key": b"\x80\x02}]K\x01s.",
        "tuple key": b"\x80\x02})K\x01s.",
        "truncated text": b"\x80\x02X\xff\xff\x00\x00abc",
        "text not UTF-8": b"\x80\x02X\x01\x00\x00\x00\xff.",
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b".",
        "name without an end": b"\x80\x02c" + b"a" * 5000,
        "long number": b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".",
        "bytes": b"\x80\x03C\x01a.",
        "set": b"\x80\x04\x8f.",
        "frame of nothing": b"\x80\x04\x95\x01",
        "not a mapping": b"\x80\x02" + tensor() + b".",
        "a number": b"\x80\x02K\x01.",
    }  # fmt: skip
    return streams


@pytest.mark.parametrize("case", _hostile(Path("/nonexistent/marker")))
def test_hostile_pickles(tmp_path: Path, case: str) -> None:
    marker = tmp_path / "marker"
    path = torch_file(tmp_path / "evil.bin", _hostile(marker)[case], {"0": bytes(24)})
    with sealed(), pytest.raises(CompileError) as caught:
        read_header(path)
    assert "evil.bin" in str(caught.value) and caught.value.diagnostics[0].code == "checkpoint-format"
    assert not marker.exists()


def test_the_message_names_the_global_and_its_place(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "evil.bin", b"\x80\x02cos\nsystem\n.")
    with pytest.raises(CompileError) as caught:
        read_header(path)
    expected = "evil.bin: data.pkl at byte 2: global 'os system' is not a tensor constructor"
    assert caught.value.diagnostics[0].message == expected


VIEWS: dict[str, tuple[bytes, str]] = {
    "too many rows": (tensor((3, 3)), "reaches to element 8 of a storage of 6"),
    "stride too far": (tensor((2, 3), (4, 1)), "reaches to element 6"),
    "offset too far": (tensor(start=1), "reaches to element 6"),
    "empty but outside": (tensor((0, 3), start=7), "of a storage of 6"),
    "stride of zero": (tensor((10**6, 10**6), (0, 0)), "expands a storage of 6"),
    "sliding windows": (tensor((4, 3), (1, 1)), "expands a storage of 6"),
    "negative stride": (tensor((2, 3), (-3, 1)), "not whole numbers"),
    "negative offset": (tensor(start=-1), "not whole numbers"),
    "negative size": (tensor((-2, 3)), "not whole numbers"),
    "ranks differ": (tensor((2, 3), (1,)), "not whole numbers"),
    "product wraps": (tensor((2**32, 2**32), (1, 1)), "2^63"),
    "offset wraps": (tensor(start=2**62), "reaches to element"),
    "stride wraps": (tensor((2, 3), (2**62, 1)), "reaches to element"),
    "rank 17": (tensor((1,) * 17, (1,) * 17), "17 dimensions"),
    "storage absent": (tensor(held=storage("9")), "data/9 is not in the archive"),
    "storage elsewhere": (tensor(held=storage("../version")), "is not in the archive"),
    "storage too long": (tensor(held=storage(numel=7)), "has 24 bytes, not 7 elements"),
    "storage too short": (tensor(held=storage(numel=5)), "has 24 bytes, not 5 elements"),
    "storage huge": (tensor(held=storage(numel=2**62)), "has 24 bytes"),
    "another width": (tensor(held=storage(kind="DoubleStorage")), "not 6 elements of float64"),
}


@pytest.mark.parametrize("case", VIEWS)
def test_views_outside_their_storage(tmp_path: Path, case: str) -> None:
    pickled, reason = VIEWS[case]
    path = torch_file(tmp_path / "evil.bin", state_dict(a=pickled), {"0": bytes(24)})
    with sealed(), pytest.raises(CompileError) as caught:
        read_header(path)
    assert reason in str(caught.value)


def test_the_hand_made_archive_is_otherwise_sound(tmp_path: Path) -> None:
    data = struct.pack("<6f", *range(6))
    path = torch_file(tmp_path / "a.bin", state_dict(a=tensor((3, 2), (1, 3))), {"0": data})
    assert loaded(path)["a"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert torch.equal(loaded(path)["a"], torch.load(path, weights_only=True)["a"])


@pytest.mark.parametrize(
    "value", [torch.ones(2, dtype=torch.complex64).conj(), torch.zeros(2, 2).to_sparse()]
)
def test_lazy_and_sparse_tensors_are_refused(tmp_path: Path, value: torch.Tensor) -> None:
    torch.save({"a": value}, tmp_path / "a.bin")
    with pytest.raises(CompileError):
        read_header(tmp_path / "a.bin")


def test_exponential_nesting_is_not_followed(tmp_path: Path) -> None:
    """Each list holds the one before twice: 2^99 leaves in a kilobyte."""
    levels = b"".join(b"](h%ch%ceq%c0" % (i, i, i + 1) for i in range(99))
    path = torch_file(tmp_path / "a.bin", state_dict(bomb=b"]q\x000" + levels + b"h%c" % 99, a=number(3)))
    assert read_header(path).metadata == {"bomb": "a list of 2", "a": 3}
    deep = b"]" * 50_000 + b"a" * 49_999
    assert read_header(torch_file(tmp_path / "b.bin", state_dict(deep=deep))).metadata == {
        "deep": "a list of 1"
    }


def test_legacy_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CompileError, match=r"before 1\.6"):
        read_header(path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/readme", "hello")
    with pytest.raises(CompileError, match="not of PyTorch"):
        read_header(tmp_path / "a.zip")
    path = torch_file(tmp_path / "be.bin", state_dict(a=tensor()), {"0": bytes(24)}, byteorder=b"big")
    with pytest.raises(CompileError, match="big-endian"):
        read_header(path)


def test_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    torch.save({"first": torch.zeros(40), "second": torch.ones(3)}, path)
    data = bytearray(path.read_bytes())
    extent = read_header(path).tensors["first"].extent
    assert extent is not None
    data[extent.offset + 17] ^= 4
    path.write_bytes(data)
    with pytest.raises(CompileError, match="`first` does not match its checksum") as caught:
        open_checkpoint(read_header(path)).verify()
    assert len(caught.value.diagnostics) == 1


def test_random_damage(tmp_path: Path) -> None:
    """Flips anywhere but in tensor data raise CompileError, or leave a file whose tensors lie within it."""
    whole = tmp_path / "whole.bin"
    torch.save({"a": torch.zeros(3, 2), "b": {"c": torch.ones(2)}, "n": 3}, whole)
    data, path, chance, refused = whole.read_bytes(), tmp_path / "a.bin", random.Random(3), 0
    for _ in range(2000):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 4))):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            loaded(path)
        except CompileError:
            refused += 1
    assert refused > 600


def test_random_pickles(tmp_path: Path) -> None:
    """Damage inside data.pkl with a matching checksum, so that the machine itself sees it."""
    torch.save({"a": torch.zeros(3, 2), "b": torch.nn.Parameter(torch.ones(2)), "n": 3}, tmp_path / "w.bin")
    with zipfile.ZipFile(tmp_path / "w.bin") as archive:
        pickled = archive.read("w/data.pkl")
    chance, refused = random.Random(4), 0
    opcodes = b"\x80}](Kq)tRQbscX\x81\x93\x94.ue01h\x85\x87\x88NJ\x8aGl"
    for _ in range(1500):
        damaged = bytearray(pickled)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.choice(opcodes + bytes(range(0, 256, 5)))
        path = torch_file(tmp_path / "a.bin", bytes(damaged), {"0": bytes(24), "1": bytes(8)})
        try:
            loaded(path)
        except CompileError:
            refused += 1
    assert refused > 1000


def test_every_truncation(tmp_path: Path) -> None:
    whole = tmp_path / "whole.bin"
    torch.save({"a": torch.zeros(3)}, whole)
    data, cut = whole.read_bytes(), tmp_path / "cut.bin"
    for size in range(len(data)):
        cut.write_bytes(data[:size])
        with pytest.raises(CompileError) as caught:
            read_header(cut)
        message = str(caught.value)
        assert "cut.bin" in message and "truncated" in message and str(size) in message, size
