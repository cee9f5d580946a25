"""init_weights sets every parameter, by the rules of the spec and reproducibly."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import nn

import compiler
from tests.emission.models import CASES, Case, name

FROZEN = {
    "bart": {"head_bias"},
    "marian": {"head_bias"},
    "whisper": {"e_place"},
    "vit_mae_encoder": {"cls_pos", "pos"},
    "vit_mae": {"cls_pos", "pos", "d_cls_pos", "d_pos"},
    "simple_mae": {"pos", "d_pos"},
}
WIDE = {"vocab": 301, "dim": 96, "depth": 3, "heads": 4}


def _built(source: str, values: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(compiler.build(source, set=values).state_dict())


TRAINED = [case for case in CASES if case.spec != "starter_patchify"]  # has no parameters


@pytest.mark.parametrize("case", TRAINED, ids=name)
def test_every_parameter_is_set(case: Case) -> None:
    model: Any = compiler.build(case.source, set=case.set)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    model.init_weights()
    assert [n for n, p in model.named_parameters() if not p.isfinite().all()] == []
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == FROZEN.get(case.spec, set())


@pytest.mark.parametrize("case", TRAINED, ids=name)
def test_seeds_reproduce(case: Case) -> None:
    one, again, other = (_built(case.source, case.set, seed) for seed in (3, 3, 4))
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert any(not torch.equal(one[n], other[n]) for n in one)


def _is_normal(tensor: torch.Tensor, std: float) -> bool:
    """Mean and deviation within five standard errors: one false alarm in a million."""
    count = tensor.numel()
    mean_error, std_error = std / math.sqrt(count), std / math.sqrt(2 * count)
    return abs(tensor.mean().item()) < 5 * mean_error and abs(tensor.std().item() - std) < 5 * std_error


def test_gpt2_follows_its_paper() -> None:
    """Radford et al. 2019, section 2.3: residual projections are scaled by 1 / sqrt(2 depth)."""
    scaled = 0
    for key, tensor in _built("gpt2", WIDE).items():
        if key.endswith("bias"):
            assert (tensor == 0).all()
        elif ".ln_" in key or key.startswith("ln_"):
            assert (tensor == 1).all()
        elif re.fullmatch(r"h\.\d\.(attn\.o|mlp\.down)\.weight", key):
            assert _is_normal(tensor, 0.02 / math.sqrt(6)) and not _is_normal(tensor, 0.02)
            scaled += 1
        else:
            assert _is_normal(tensor, 0.02), key
    assert scaled == 6


@pytest.mark.parametrize("source", ["llama", "bert", "bert_mlm"])
def test_normal_weights_and_plain_norms(source: str) -> None:
    values = {**WIDE, "hidden": 160}
    for key, tensor in _built(source, values).items():
        if key.endswith("bias"):
            assert (tensor == 0).all()
        elif tensor.ndim == 1:
            assert (tensor == 1).all()
        else:
            assert _is_normal(tensor, 0.02), key


def test_clip_follows_its_paths() -> None:
    sizes = {"embed": 80, "v_dim": 96, "v_depth": 1, "v_heads": 4, "t_dim": 64, "t_depth": 1, "t_heads": 4}
    found = _built("clip_vitb32", {**sizes, "vocab": 301})
    assert found["logit_scale"].item() == pytest.approx(math.log(1 / 0.07), rel=1e-6)
    assert _is_normal(found["cls"], 96**-0.5) and _is_normal(found["v_pos"], 96**-0.5)
    assert (found["visual.h.0.ln_1.weight"] == 1).all() and (found["visual.h.0.ln_1.bias"] == 0).all()


def test_dtypes_and_devices() -> None:
    case = CASES[0]
    meta = compiler.build(case.source, set=case.set, device="meta", dtype=torch.bfloat16)
    real = compiler.build(case.source, set=case.set, dtype=torch.bfloat16)
    assert {(p.device.type, p.dtype) for p in meta.parameters()} == {("meta", torch.bfloat16)}
    assert {(p.device.type, p.dtype) for p in real.parameters()} == {("cpu", torch.bfloat16)}


def test_construction_leaves_torch_as_it_was() -> None:
    """Building skips torch's own initialisation, for itself alone."""
    compiler.build(CASES[0].source, set=CASES[0].set, device="meta")
    layer = nn.Linear(50, 50)
    assert layer.weight.device.type == "cpu" and 0 < layer.weight.abs().max() <= 50**-0.5
