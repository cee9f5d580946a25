"""dtype and device of `load`: every file form, every type, each tensor as torch itself converts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import compiler
import runtime
from runtime.checkpoint.writer import TensorStream, write_safetensors

HALVES = (torch.float16, torch.bfloat16)
SMALL = {"dim": 24, "heads": 3, "depth": 2, "vocab": 50, "context": 40}
SPEC = """
spec: demo
inputs: {x: "float[B, 3]"}
nodes:
  gain: {op: parameter, shape: [3], dtype: float32, init: ones}
  same: {op: cast, in: {x: gain, like: x}}
  m: {op: mul, in: [x, same]}
  o: {op: linear, out: 2}
outputs: {y: o}
"""


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """A small GPT-2's tensors by their published names."""
    torch.manual_seed(0)
    runtime.export(runtime.load("gpt2", weights=None, set=SMALL), folder)
    return load_file(folder / "model.safetensors")


def write(folder: Path, theirs: dict[str, torch.Tensor], form: str) -> None:
    """The tensors in a form that people publish."""
    (folder / "model.safetensors").unlink()
    if form == "one":
        save_file(theirs, folder / "model.safetensors", {"format": "pt"})
    elif form == "shards":
        write_safetensors(folder, TensorStream.of(theirs), max_shard_bytes=4000, force=True)
        assert (folder / "model.safetensors.index.json").exists()
    else:
        torch.save(theirs, folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("form", "stored"),
    [("one", torch.float32), ("one", torch.bfloat16), ("shards", torch.bfloat16), ("torch", torch.float16)],
)
def test_values_are_those_of_torch(tmp_path: Path, form: str, stored: torch.dtype) -> None:
    theirs = {name: tensor.to(stored) for name, tensor in tensors(tmp_path / "in").items()}
    write(tmp_path / "in", theirs, form)
    for number, wanted in enumerate((None, torch.float32, torch.float64, *HALVES)):
        model = runtime.load(tmp_path / "in", dtype=wanted)
        assert {p.dtype for p in model.parameters()} == {wanted or stored}
        out = tmp_path / f"out{number}"
        runtime.export(model, out)
        back = load_file(out / "model.safetensors")
        assert back.keys() == theirs.keys()
        for name, tensor in theirs.items():
            assert back[name].dtype == (wanted or stored)
            assert torch.equal(back[name], tensor.to(wanted or stored))


def test_what_the_spec_gives_a_type_keeps_every_bit(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text(SPEC, encoding="utf-8")
    rules = "rules: ['gain <> gain', 'o.(weight|bias) <> o.(weight|bias)']\n"
    (tmp_path / "demo.hf.yaml").write_text(
        f"weightmap: 1\nspec: demo\ndialect: hf\n{rules}", encoding="utf-8"
    )
    fine = torch.tensor([1 / 3, 1e-9, 1e9])  # none of them is a number of 16 bits
    theirs = {"gain": fine, "o.weight": torch.randn(2, 3), "o.bias": torch.randn(2)}
    save_file(theirs, tmp_path / "demo.safetensors")
    for wanted in (None, *HALVES):
        model = runtime.load(tmp_path / "demo.yaml", weights=tmp_path / "demo.safetensors", dtype=wanted)
        state = model.state_dict()
        assert state["gain"].dtype == torch.float32 and torch.equal(state["gain"], fine)
        assert torch.equal(state["o.weight"], theirs["o.weight"].to(wanted or torch.float32))
        assert model(torch.ones(1, 3, dtype=wanted)).dtype == (wanted or torch.float32)


@pytest.mark.parametrize("wanted", [None, torch.bfloat16])
def test_ties_stay_one_tensor(tmp_path: Path, wanted: torch.dtype | None) -> None:
    """The output of a language model is its token table; a file may hold it twice."""
    theirs = tensors(tmp_path)
    theirs["lm_head.weight"] = theirs["transformer.wte.weight"].clone()
    save_file(theirs, tmp_path / "model.safetensors", {"format": "pt"})
    model = runtime.load(tmp_path, dtype=wanted)
    assert "lm_head.weight" not in dict(model.named_parameters())
    with torch.no_grad():
        model.get_parameter("wte.weight").zero_()
        assert model(torch.tensor([[1, 2, 3]])).abs().max() == 0


def test_on_meta_there_are_shapes_and_types_alone(tmp_path: Path) -> None:
    tensors(tmp_path)
    model = runtime.load(tmp_path, device="meta", dtype=torch.bfloat16)
    there = runtime.load(tmp_path, dtype=torch.bfloat16).state_dict()
    assert {n: (t.shape, t.dtype) for n, t in model.state_dict().items()} == {
        n: (t.shape, t.dtype) for n, t in there.items()
    }
    assert all(t.is_meta for t in model.state_dict().values())


@pytest.mark.parametrize("weights", ["default", None])
@pytest.mark.parametrize("device", ["gpu", "xpu", "cuda:64"])
def test_a_device_that_is_not_there(tmp_path: Path, device: str, weights: str | None) -> None:
    tensors(tmp_path)
    with pytest.raises(compiler.CompileError, match=f"the device `{device}` cannot be used: ") as caught:
        runtime.load(tmp_path, weights=weights, device=device)
    assert str(caught.value).count("\n") < 4


def test_a_type_that_weights_cannot_have(tmp_path: Path) -> None:
    tensors(tmp_path)
    with pytest.raises(compiler.CompileError, match=r"weights cannot be of type int8[^$]*bfloat16, float16"):
        runtime.load(tmp_path, dtype=torch.int8)


MEASURE = """
import sys, threading, torch, runtime

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

torch.set_num_threads(1)
model = runtime.load(sys.argv[1])
del model
peak, start, done = [0], anonymous(), threading.Event()
def watch():
    while not done.wait(0.001):
        peak[0] = max(peak[0], anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
model = runtime.load(sys.argv[1], dtype=torch.float32)
done.set()
watcher.join()
print(max(peak[0], anonymous()) - start, sum(p.numel() * 4 for p in model.parameters()))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="where memory is told apart by kind")
def test_no_more_memory_than_the_outputs_and_a_group(tmp_path: Path) -> None:
    """A bfloat16 file as float32: nothing is a view, so everything is made, once."""
    theirs = {"dim": 512, "heads": 8, "depth": 4, "vocab": 40000}
    model = runtime.load("gpt2", weights=None, set=theirs, dtype=torch.bfloat16)
    runtime.export(model, tmp_path / "big")
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "big")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used, outputs = map(int, done.stdout.split())
    largest = 40000 * 512 * 4
    assert outputs > 1.2e8
    assert outputs * 0.9 < used < outputs + largest
