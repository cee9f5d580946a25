"""A run that was killed after any step and resumed ends bit for bit as one that never stopped."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file as read_tensors
from torch import Tensor

import compiler
import runtime
from runtime.training import loop
from runtime.training.run import train
from tests.training.recipes import RECIPE, write

LORA = '{at: ["h.*.attn.q", "h.*.mlp.up"], rank: 3, alpha: 6, dropout: 0.3, train: [ln_f]}'


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to adapt."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    sizes = dict(vocab=30, context=16, dim=24, depth=2, heads=3)
    runtime.export(compiler.build("char_gpt", set=sizes), folder / "model")
    return folder / "model"


def run(
    recipe: Path, out: Path, *, kill: int | None = None, resume: bool = False, **set: Any
) -> dict[str, Tensor]:
    """The tensors of a run's last generation. kill: leave as if killed right after that step."""
    patch = pytest.MonkeyPatch()
    if kill is not None:
        look = loop.Loop._look

        def die(self: loop.Loop, stop: Any) -> None:
            if self.state.progress.step == kill:
                raise Killed
            look(self, stop)

        patch.setattr(loop.Loop, "_look", die)
    try:
        train(
            recipe,
            out,
            set={k.replace("__", "."): v for k, v in set.items()},
            resume=resume,
            log=io.StringIO(),
        )
    except Killed:
        pass
    finally:
        patch.undo()
    if kill is not None:
        return {}
    return {**read_tensors(out / "last/model.safetensors"), **read_tensors(out / "last/state.safetensors")}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    assert found.keys() == expected.keys()
    return all(torch.equal(found[name], expected[name]) for name in expected)


def figures(out: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without times."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "data", "rate")} for row in rows]


@pytest.mark.parametrize("kill", [3, 4, 11])
def test_killed_anywhere(kill: int, tmp_path: Path) -> None:
    recipe = write(tmp_path)
    whole = run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "cut", kill=kill)
    torch.manual_seed(999)  # whatever this process did before
    assert same(run(recipe, tmp_path / "cut", resume=True), whole)
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    assert not same(run(recipe, tmp_path / "other", seed=4), whole)


def test_with_workers_and_killed_twice(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    whole = run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "cut", kill=5, train__workers=2)
    run(recipe, tmp_path / "cut", kill=10, resume=True, train__workers=2)
    assert same(run(recipe, tmp_path / "cut", resume=True, train__workers=2), whole)


def test_with_adapters(base: Path, tmp_path: Path) -> None:
    model = f"  weights: {base}\n  adapters: {LORA}\n"
    recipe = write(tmp_path, RECIPE.replace("dropout: 0.2}\n", "dropout: 0.2}\n" + model))
    whole = run(recipe, tmp_path / "whole")
    assert sum(name.endswith("lora_a") for name in whole) == 4
    run(recipe, tmp_path / "cut", kill=8)
    assert same(run(recipe, tmp_path / "cut", resume=True), whole)


def test_another_optimizer(tmp_path: Path) -> None:
    recipe = write(tmp_path, RECIPE.replace("kind: adamw, lr: 1e-2", "kind: sgd, lr: 1e-1, momentum: 0.9"))
    whole = run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "cut", kill=8)
    assert same(run(recipe, tmp_path / "cut", resume=True), whole)


def test_the_parts_of_a_batch_add_up_to_it(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    run(recipe, tmp_path / "parts", model__set__dropout=0.0)
    run(recipe, tmp_path / "whole", model__set__dropout=0.0, train__accumulate=1)
    parts, whole = ([r["loss"] for r in figures(tmp_path / n) if "loss" in r] for n in ("parts", "whole"))
    assert parts == pytest.approx(whole, rel=1.3e-6) and len(parts) == 12


def test_a_damaged_generation_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write(tmp_path)
    whole = run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "cut", kill=11)
    newest = tmp_path / "cut" / "last" / "state.safetensors"
    data = bytearray(newest.read_bytes())
    data[-3] ^= 4
    newest.write_bytes(data)
    assert same(run(recipe, tmp_path / "cut", resume=True), whole)
    assert "last-00000009 is damaged and was passed over" in capsys.readouterr().err


def test_a_folder_called_like_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write(tmp_path)
    whole = run(recipe, tmp_path / "whole")
    monkeypatch.chdir(tmp_path)
    run(recipe, Path("char_gpt"), kill=5)
    assert same(run(recipe, Path("char_gpt"), resume=True), whole)


def test_another_machine_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write(tmp_path)
    run(recipe, tmp_path / "cut", kill=5)
    known = tmp_path / "cut" / "environment.json"
    known.write_text(known.read_text().replace('"threads": ', '"threads": 9'))
    run(recipe, tmp_path / "cut", resume=True)
    assert "note: threads was 9" in capsys.readouterr().err


def test_only_the_same_recipe_is_resumed(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    run(recipe, tmp_path / "cut", kill=5)
    with pytest.raises(compiler.CompileError, match=r"`optimizer\.lr` differs"):
        run(recipe, tmp_path / "cut", resume=True, optimizer__lr=1.0)
    with pytest.raises(compiler.CompileError, match="exists and is not empty"):
        run(recipe, tmp_path / "cut")
    with pytest.raises(compiler.CompileError, match="no run in"):
        run(recipe, tmp_path / "none", resume=True)


def test_a_field_that_came_after_the_run_began(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    whole = run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "cut", kill=5)
    kept = tmp_path / "cut" / "recipe.yaml"
    older = kept.read_text().replace("  optimize: []\n", "")
    assert older != kept.read_text()
    kept.write_text(older)
    assert same(run(recipe, tmp_path / "cut", resume=True), whole)
