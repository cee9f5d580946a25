"""The emitted file in a process without this project, bit for bit against the built module; both styles."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import compiler
from compiler.backend.build import program_of
from tests.emission import alone
from tests.emission.models import CASES, TRAINED, Case, built


@dataclass(frozen=True)
class Setting:
    """One way to call a case."""

    case: Case
    style: str
    dtype: torch.dtype
    train: bool
    masked: bool
    method: str = "forward"

    def job(self, folder: Path, model: nn.Module) -> dict[str, Any]:
        inputs = self.case.inputs(3, 9, masked=self.masked, method=self.method)
        inputs = {n: x.to(self.dtype) if x.is_floating_point() else x for n, x in inputs.items()}
        cached = self.case.cached and self.method == "forward"
        return {
            "file": str(folder / f"{self.case.name}_{self.style}.py"),
            "root": program_of(model).root.name,
            "state": model.state_dict(),
            "dtype": self.dtype,
            "train": self.train,
            "inputs": inputs,
            "method": self.method,
            "cached": cached,
        }


def settings() -> Iterator[Setting]:
    for case in CASES:
        for style, dtype in (("views", torch.float32), ("views", torch.bfloat16), ("einops", torch.float32)):
            for train, masked in itertools.product((False, True), repeat=2):
                if style == "einops" and train:
                    continue  # lines break elsewhere, so dropout may draw in another order
                yield Setting(case, style, dtype, train, masked)
        for method in case.methods:
            yield Setting(case, "views", torch.float32, False, True, method)
            yield Setting(case, "einops", torch.float32, False, True, method)


SETTINGS = tuple(settings())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[Setting, tuple[dict[str, Any], dict[str, Any]]]:
    """For each setting what the process alone computed, and the job it had."""
    folder = tmp_path_factory.mktemp("alone")
    for case in CASES:
        for style in ("views", "einops"):
            text = compiler.emit(case.source, set=case.set, style=style)
            (folder / f"{case.name}_{style}.py").write_text(text, encoding="utf-8")
    models = {case: built(case) for case in CASES}
    jobs = [s.job(folder, models[s.case]) for s in SETTINGS]
    path = folder / "jobs.pt"
    torch.save(jobs, path)
    command = [sys.executable, "-I", str(Path(alone.__file__)), str(path)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = torch.load(f"{path}.out", weights_only=False)
    assert found["known"] == []
    return dict(zip(SETTINGS, zip(found["results"], jobs, strict=True), strict=True))


@pytest.mark.parametrize(
    "setting",
    [s for s in SETTINGS if s.style == "views"],
    ids=lambda s: f"{s.case.name}-{s.dtype}-{'train' if s.train else 'eval'}-{s.masked}-{s.method}",
)
def test_file_and_module_are_bit_identical(setting: Setting, results: dict[Setting, Any]) -> None:
    found, job = results[setting]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = compiler.build(setting.case.source, set=setting.case.set, device="meta")
    expected = alone.run(job, {job["root"]: lambda: model.to_empty(device="cpu")})
    torch.set_num_threads(threads)
    assert found["outputs"] and (found["gradients"] or setting.case not in TRAINED)
    assert found["keys"] == expected["keys"] == [p.name for p in program_of(model).table.parameters]
    for group in ("outputs", "gradients"):
        assert found[group].keys() == expected[group].keys()
        for name, tensor in found[group].items():
            assert torch.equal(tensor, expected[group][name]), (group, name)
    assert len(found["steps"]) == len(expected["steps"]) == (4 if job["cached"] else 0)
    for one, other in zip(found["steps"], expected["steps"], strict=True):
        assert torch.equal(one, other)
    if setting.method == "forward":
        assert found["gradients"].keys() == {n for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_einops_computes_the_same(case: Case, results: dict[Setting, Any]) -> None:
    compared = 0
    for setting in SETTINGS:
        if setting.case is not case or setting.style != "einops":
            continue
        views = Setting(case, "views", setting.dtype, setting.train, setting.masked, setting.method)
        (found, _), (expected, _) = results[setting], results[views]
        assert found["keys"] == expected["keys"]
        for group in ("outputs", "gradients"):
            for name, tensor in expected[group].items():
                torch.testing.assert_close(found[group][name], tensor, rtol=1e-5, atol=1e-6)
        for name, tensor in expected["outputs"].items():
            assert (found["outputs"][name] - tensor).abs().max() <= 1e-6
            compared += 1
    assert compared >= 2


def test_dropout_acts_in_training(results: dict[Setting, Any]) -> None:
    """The control of the comparison under one seed: dropout was there to be compared."""
    gpt2 = CASES[0]
    kept, _ = results[Setting(gpt2, "views", torch.float32, False, False)]
    dropped, _ = results[Setting(gpt2, "views", torch.float32, True, False)]
    assert not torch.equal(kept["outputs"][""], dropped["outputs"][""])
