"""TorchScript archives read as data. torch.jit is used here only to make them and to compare."""

# mypy: disable-error-code="no-untyped-call, no-any-return, assignment"

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.readers import read_header
from compiler.weights.readers.pickle_globals import Object, Storage, Tensor
from compiler.weights.readers.pickle_ops import PickleFault
from compiler.weights.readers.torchscript import flatten
from runtime.checkpoint.reader import open_checkpoint
from tests.unit.checkpoint.archives import state_dict, tensor, text, torch_file
from tests.unit.checkpoint.sealed import sealed
from tests.unit.checkpoint.test_safetensors import bits

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*:torch.jit.TracerWarning")


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 2)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.ln(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln(x))


class Clip(nn.Module):
    """Like OpenAI's archives: parameters at the root, buffers of every kind, deep nesting."""

    def __init__(self) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(5, 4))
        self.logit_scale = nn.Parameter(torch.tensor(2.5))
        self.resblocks = nn.Sequential(Block(4), Block(4))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("proj", torch.randn(6, 4).t())
        self.context_length = 77

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.resblocks(x + self.positional_embedding) @ self.proj * self.logit_scale.exp()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("how", ["traced", "scripted"])
def test_equal_to_jit_load(tmp_path: Path, how: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Clip().eval().to(dtype)
    x = torch.randn(5, 4, dtype=dtype)
    archive = torch.jit.trace(model, x, check_trace=False) if how == "traced" else torch.jit.script(model)
    path = tmp_path / "clip.pt"
    archive.save(str(path))
    expected = torch.jit.load(str(path), map_location="cpu").state_dict()
    with sealed():
        checkpoint = open_checkpoint(read_header(path))
        found = {key: checkpoint.tensor(key) for key in checkpoint.header.tensors}
    assert checkpoint.header.format == "torchscript"
    assert list(found) == list(expected) and len(found) == 25
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and found[key].stride() == value.stride(), key
        assert found[key].shape == value.shape and bits(found[key]) == bits(value), key
    if how == "scripted":
        assert checkpoint.header.metadata["context_length"] == 77
    checkpoint.verify()


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(2, 3)
        self.again = self.lin
        self.table = torch.ones(2)
        self.kept = {"a": torch.ones(1)}
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.lin(x)[:, :2]) + self.table.sum() + self.kept["a"] + self.sizes[0]


def test_attributes_that_are_no_state(tmp_path: Path) -> None:
    """A plain tensor attribute is listed though state_dict() leaves it out; containers are metadata."""
    path = tmp_path / "plain.pt"
    torch.jit.script(Plain()).save(str(path))
    expected = torch.jit.load(str(path)).state_dict()
    header = read_header(path)
    assert set(header.tensors) == {*expected, "table"}
    assert header.metadata["sizes"] == "a list of 2" and header.metadata["kept"] == "a tagged"


class Hostile(nn.Module):
    def __init__(self, marker: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.marker = marker

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return self.weight, self.marker, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        self.weight = state[0]
        self.marker = state[1]
        self.training = state[2]
        torch.save(self.weight, self.marker)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight


def test_setstate_is_refused_and_never_runs(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.pt"
    torch.jit.script(Hostile(str(marker))).save(str(path))
    assert not marker.exists()
    torch.jit.load(str(path))
    assert marker.exists(), "the archive must be one that acts when PyTorch loads it"
    marker.unlink()
    with sealed(), pytest.raises(CompileError) as caught:
        read_header(path)
    assert "Hostile' carries custom state; only plain modules are read" in str(caught.value)
    assert "evil.pt" in str(caught.value) and not marker.exists()


MODULE = b"c__torch__.a\nM\n)\x81"
HAND_MADE = {
    "tuple state": (MODULE + b"K\x01\x85b.", "custom state"),
    "tagged dict": (
        MODULE + b"ctorch.jit._pickle\nrestore_type_tag\n(}" + text("Dict[str, int]") + b"tRb.",
        "custom",
    ),
    "built twice": (MODULE + b"}b}b.", "custom state"),
    "numbered attribute": (MODULE + b"}K\x01K\x02sb.", "not text"),
    "dotted attribute": (MODULE + b"}(" + text("a.b") + tensor() + b"ub.", "holds a dot"),
    "long attribute": (MODULE + b"}(" + text("a" * 600) + tensor() + b"ub.", "too long"),
    "arguments to new": (b"c__torch__.a\nM\nK\x01\x85\x81}b.", "not a plain TorchScript module"),
    "class called": (b"c__torch__.a\nM\n)R.", "does not write"),
    "lookalike package": (b"c__torch__evil\nM\n)\x81}b.", "not a tensor constructor"),
    "other package": (b"cos\nsystem\n)\x81}b.", "not a tensor constructor"),
    "cycle": (MODULE + b"q\x00}" + text("a") + b"h\x00sb.", "without end"),
}


@pytest.mark.parametrize("case", HAND_MADE)
def test_hand_made(tmp_path: Path, case: str) -> None:
    pickled, reason = HAND_MADE[case]
    path = torch_file(
        tmp_path / "a.pt", b"\x80\x02" + pickled, {"0": bytes(24)}, **{"constants.pkl": b"\x80\x02)."}
    )
    with sealed(), pytest.raises(CompileError) as caught:
        read_header(path)
    assert reason in str(caught.value)


def test_classes_need_a_torchscript_archive(tmp_path: Path) -> None:
    pickled = b"\x80\x02" + MODULE + state_dict(a=tensor())[2:-1] + b"b."
    marked = torch_file(tmp_path / "a.pt", pickled, {"0": bytes(24)}, code_x=b"not opened")
    assert set(read_header(marked).tensors) == {"a"}
    with pytest.raises(CompileError, match=r"'__torch__\.a M' is not a tensor constructor"):
        read_header(torch_file(tmp_path / "b.pt", pickled, {"0": bytes(24)}))


def test_shared_nesting_does_not_explode() -> None:
    module = Object("leaf", {"w": Tensor(Storage("0", "float32", 6), "float32", 0, (6,), (1,))})
    for _ in range(60):
        module = Object("pair", {"a": module, "b": module})
    with pytest.raises(PickleFault, match="without end"):
        flatten(module)
