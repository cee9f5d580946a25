"""weights plan: from a spec and a header to what loading would do, or to every reason why it would not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import compiler
from compiler.cli.main import main
from compiler.weights.library import Library
from compiler.weights.load_plan import LoadPlan
from compiler.weights.plan import plan_export

SIZES = {"vocab": 53, "context": 13, "dim": 12, "depth": 3, "heads": 3}
TINY = [part for name, size in SIZES.items() for part in ("--set", f"{name}={size}")]


def exported() -> LoadPlan:
    return plan_export(Library.standard().load("gpt2.hf"), compiler.compile("gpt2", set=SIZES).table)


def write(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """A safetensors file of zeros."""
    header: dict[str, object] = {}
    end = 0
    for key, shape in shapes.items():
        start, count = end, 4
        for size in shape:
            count *= size
        end = start + count
        header[key] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path / "model.safetensors", {key: t.shape for key, t in exported().theirs.items()})


def test_the_folded_table(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "plan", "gpt2", str(checkpoint), *TINY]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "gpt2.hf reads model.safetensors (safetensors): 52 tensors of ours, 40 of theirs"
    assert "wte.weight [53, 12] transformer.wte.weight as it stands" in lines
    assert "h.{0-2}.attn.k.weight [12, 12] transformer.h.{0-2}.attn.c_attn.weight d [n|n|n] -> * d" in lines
    assert "h.{0-2}.mlp.down.weight [12, 48] transformer.h.{0-2}.mlp.c_proj.weight i o -> o i" in lines
    assert "tied: lm_head.weight is wte.weight" in lines


def test_the_data_cover_every_tensor_and_byte(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "plan", "gpt2", str(checkpoint), *TINY, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    table = compiler.compile("gpt2", set=SIZES).table
    assert {t["ours"]: tuple(t["shape"]) for t in found["tensors"]} == {
        p.name: p.shape for p in table.parameters
    }
    assert {t["theirs"] for t in found["tensors"]} == set(exported().theirs)
    assert {t["mapped"] for t in found["tensors"] if t["layout"] == "as it stands"} == {True}
    assert {t["mapped"] for t in found["tensors"] if t["layout"] == "i o -> o i"} == {False}
    as_they_stand = {t["ours"] for t in found["tensors"] if t["mapped"]}
    mapped = sum(p.numel for p in table.parameters if p.name in as_they_stand)
    assert found["mapped_bytes"] == 4 * mapped
    assert found["mapped_bytes"] + found["copied_bytes"] == 4 * sum(p.numel for p in table.parameters)


def test_second_copies_and_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = {key: t.shape for key, t in exported().theirs.items()}
    extra = {f"transformer.h.{i}.attn.bias": (1, 1, 13, 13) for i in range(3)}
    path = write(tmp_path / "model.safetensors", {**shapes, **extra, "lm_head.weight": (53, 12)})
    assert main(["weights", "plan", "gpt2", str(path), *TINY]) == 0
    out = capsys.readouterr().out
    assert "second copy, to be compared: `lm_head.weight`\n" in out
    assert "left out: `transformer.h.{0-2}.attn.bias` (3 tensors): the causal mask" in out


def test_every_fault_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes = {key: t.shape for key, t in exported().theirs.items()}
    del shapes["transformer.wpe.weight"]
    shapes["transformer.wte.weight"] = (12, 53)
    path = write(tmp_path / "model.safetensors", {**shapes, "stranger": (2,)})
    assert main(["weights", "plan", "gpt2", str(path), *TINY]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    for code, name in (("missing", "wpe.weight"), ("mismatch", "wte.weight"), ("unexpected", "stranger")):
        assert f"error[key-{code}]" in err and name in err


@pytest.mark.parametrize(
    "more", [["--dialect", "hf"], ["--map", "gpt2.hf"], []], ids=["dialect", "map", "neither"]
)
def test_a_map_is_named_or_found(more: list[str], checkpoint: Path) -> None:
    assert main(["weights", "plan", "gpt2", str(checkpoint), *TINY, *more]) == 0


@pytest.mark.parametrize("more", [["--dialect", "openai"], ["--map", "nowhere.yaml"], ["--map", "bert.hf"]])
def test_a_map_that_does_not_fit_is_a_fault(
    more: list[str], checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "plan", "gpt2", str(checkpoint), *TINY, *more]) == 1
    assert capsys.readouterr().err.startswith("error[")


def test_a_folder_is_both_spec_and_checkpoint(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 53, "n_positions": 13}
    config |= {"n_embd": 12, "n_layer": 3, "n_head": 3}
    (checkpoint.parent / "config.json").write_text(json.dumps(config))
    assert main(["weights", "plan", str(checkpoint.parent)]) == 0
    assert "52 tensors of ours, 40 of theirs" in capsys.readouterr().out
    assert main(["check", str(checkpoint.parent)]) == 0


@pytest.mark.parametrize("missing", ["nothing.safetensors", ""])
def test_a_checkpoint_that_is_not_there(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "plan", "gpt2", *([missing] if missing else [])]) == 1
    assert "error[not-found]" in capsys.readouterr().err
