"""Checkpoints as they come: in parts, in half precision, damaged; and modules that no checkpoint made."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

import runtime
from compiler.diagnostics.diagnostic import CompileError
from runtime.cli.main import main
from tests.parity import decoders, hf, test_bert, test_clip, test_gpt2, test_llama
from tests.parity.harness import answers, comparison, randomised

MODELS: list[tuple[Any, Any]] = [
    (GPT2LMHeadModel, GPT2Config(**test_gpt2.SMALL)),
    (LlamaForCausalLM, LlamaConfig(**test_llama.SMALL)),
    (LlamaForCausalLM, LlamaConfig(**test_llama.SMALL | {"rope_parameters": test_llama.SCALED})),
    (BertModel, BertConfig(**test_bert.SMALL)),
    (BertForMaskedLM, BertConfig(**test_bert.SMALL)),
    (CLIPModel, test_clip.small()),
    (CLIPModel, test_clip.small({"eos_token_id": 57})),
]
each_model = pytest.mark.parametrize(
    ("kind", "config"), MODELS, ids=lambda value: getattr(value, "__name__", "")
)


def saved(kind: Any, config: Any, folder: Path, dtype: torch.dtype = torch.float32, **how: Any) -> Any:
    model: Any = randomised(hf.maker(kind, config)()).to(dtype)
    model.save_pretrained(folder, **how)
    return model


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(
        tensor.dtype is theirs[name].dtype and torch.equal(tensor, theirs[name])
        for name, tensor in ours.items()
    )


@each_model
def test_in_parts(kind: Any, config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(kind, config, tmp_path / "whole")
    saved(kind, config, tmp_path / "parts", max_shard_size="8KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 2
    assert same(runtime.load(tmp_path / "parts"), runtime.load(tmp_path / "whole"))
    assert main(["verify", str(tmp_path / "parts")]) == 0
    keys = len(load_file(tmp_path / "whole" / "model.safetensors"))
    assert f"all {keys} tensors come back bit for bit" in capsys.readouterr().out


@each_model
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(kind: Any, config: Any, dtype: torch.dtype, tmp_path: Path) -> None:
    reference = saved(kind, config, tmp_path / "half", dtype)
    half = runtime.load(tmp_path / "half")
    assert {tensor.dtype for tensor in half.state_dict().values()} == {dtype}
    reference.float().save_pretrained(tmp_path / "single")
    single = runtime.load(tmp_path / "single")
    assert same(runtime.load(tmp_path / "half", dtype=torch.float32), single)
    assert same(runtime.load(tmp_path / "single", dtype=dtype), half)
    runtime.export(half, tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (
        tmp_path / "half" / "model.safetensors"
    ).read_bytes()
    reopened = hf.opener(kind)(tmp_path / "back")
    assert same(reopened, reference.to(dtype))


@each_model
def test_a_module_that_was_never_loaded(kind: Any, config: Any, tmp_path: Path) -> None:
    """Its export is a folder that transformers opens, and that gives it back."""
    saved(kind, config, tmp_path / "sizes")
    fresh = runtime.load(tmp_path / "sizes", weights=None)
    runtime.export(randomised(fresh), tmp_path / "back")
    assert same(runtime.load(tmp_path / "back"), fresh)
    reopened: Any = hf.opener(kind)(tmp_path / "back")
    reopened.save_pretrained(tmp_path / "again")
    assert same(runtime.load(tmp_path / "again"), fresh)


@pytest.mark.parametrize(
    "spec", ["llama:2-7b", "llama:3-8b", "llama:3.1-8b", "llama:3.2-1b", "llama:smollm2-135m"]
)
def test_a_variant_opens_in_transformers(spec: str, tmp_path: Path) -> None:
    """What the variant leaves to the defaults of its rotation is written out."""
    sizes = {"vocab": 97, "dim": 24, "depth": 2, "heads": 6, "kv_heads": 2, "head_dim": 10, "hidden": 44}
    model: Any = randomised(runtime.load(spec, weights=None, set=sizes))
    runtime.export(model, tmp_path)
    reference = hf.opener(LlamaForCausalLM)(tmp_path).eval()
    asked = decoders.questions(97, 600)
    compare = comparison(answers(lambda m: decoders.ask_theirs(m, asked), reference), torch.float32)
    compare(answers(lambda m: decoders.ask_ours(m, asked), model))


def missing(state: dict[str, torch.Tensor]) -> str:
    del state["h.1.ln_2.bias"]
    return "h.1.ln_2.bias"


def renamed(state: dict[str, torch.Tensor]) -> str:
    state["h.1.ln2.bias"] = state.pop("h.1.ln_2.bias")
    return "h.1.ln2.bias"


def misshapen(state: dict[str, torch.Tensor]) -> str:
    state["h.1.mlp.c_fc.weight"] = state["h.1.mlp.c_fc.weight"].T.contiguous()
    return "h.1.mlp.c_fc.weight"


@pytest.mark.parametrize("damage", [missing, renamed, misshapen])
def test_damage_is_reported_where_the_map_reads_it(
    damage: Callable[[dict[str, torch.Tensor]], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(*MODELS[0], tmp_path)
    file = tmp_path / "model.safetensors"
    state = {key.removeprefix("transformer."): tensor for key, tensor in load_file(file).items()}
    key = damage(state)
    save_file(state, file, metadata={"format": "pt"})
    assert main(["verify", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert f"`{key}`" in said.err and said.out == ""
    assert re.search(r"gpt2\.hf\.yaml:\d+:\d+", said.err)
    with pytest.raises(CompileError) as caught:
        runtime.load(tmp_path)
    assert str(caught.value).strip() == said.err.strip()


def test_verify_as_a_command(tmp_path: Path) -> None:
    saved(*MODELS[0], tmp_path)
    command = [sys.executable, "-m", "runtime", "verify", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "tensors come back bit for bit" in done.stdout
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.truncate(2000)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert done.stderr.startswith("error[")
