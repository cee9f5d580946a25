"""A run that was killed after any step and resumed ends bit for bit as one that never stopped."""

from __future__ import annotations

import io
import json
import platform
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file as read_tensors
from torch import Tensor

import compiler
import runtime
from runtime.training import loop
from runtime.training.card import environment
from runtime.training.data.common import Example
from runtime.training.run import train
from runtime.training.signals import Stop, Stopped
from runtime.training.step import Trained
from tests.training.recipes import RECIPE, full_disk, write

LORA = '{at: ["h.*.attn.q", "h.*.mlp.up"], rank: 3, alpha: 6, dropout: 0.3, train: [ln_f]}'

EVERY = {"checkpoint__every": 2}


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


def test_best_is_there_while_steps_are_repeated(tmp_path: Path) -> None:
    """The best of the course that was left is of a later step than the new one's."""
    recipe = write(tmp_path)
    often: dict[str, Any] = {"evaluate__every": 1, "checkpoint__every": 5}
    whole = run(recipe, tmp_path / "whole", **often)
    run(recipe, tmp_path / "cut", kill=10, **often)
    assert (tmp_path / "cut" / "best").resolve().name == "best-00000009"
    run(recipe, tmp_path / "cut", kill=7, resume=True, **often)
    assert (tmp_path / "cut" / "best").resolve().name == "best-00000006"
    assert (tmp_path / "cut" / "best" / "model.safetensors").is_file()
    assert same(run(recipe, tmp_path / "cut", resume=True, **often), whole)
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


@pytest.mark.parametrize(("batch", "step"), [(1, 4), (5, 8), (8, 12), (9, 12)])
def test_asked_to_stop_in_an_evaluation(batch: int, step: int, tmp_path: Path) -> None:
    """It ends before the next of three batches, and is done when the run goes on, killed again or not."""
    recipe = write(tmp_path)
    whole = run(recipe, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped, match=f"after step {step}"):
        measured = asked_in(patch, batch)
        run(recipe, tmp_path / "cut")
    assert len(measured) == batch
    run(recipe, tmp_path / "cut", resume=True, kill=step + 1)
    assert same(run(recipe, tmp_path / "cut", resume=True), whole)
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    best = (read_tensors(tmp_path / name / "best" / "model.safetensors") for name in ("cut", "whole"))
    assert same(*best)


def asked_in(patch: pytest.MonkeyPatch, batch: int) -> list[int]:
    """Let a run be asked to stop in a held-out batch, counted from its beginning; those that it reads."""
    stops: list[Stop] = []
    measured: list[int] = []
    enter, forward = Stop.__enter__, Trained.run

    def entered(self: Stop) -> Stop:
        stops.append(self)
        return enter(self)

    def counted(self: Trained, example: Example) -> Any:
        if not self.model.training:
            measured.append(len(measured) + 1)
            if len(measured) == batch:
                stops[-1].asked = signal.SIGTERM
        return forward(self, example)

    patch.setattr(Stop, "__enter__", entered)
    patch.setattr(Trained, "run", counted)
    return measured


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


@pytest.mark.parametrize(("device", "name"), [("cpu", platform.machine()), ("cuda:1", "the second")])
def test_the_device_of_a_run_is_its_own(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that which the machine has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda of=None: ["the first", "the second"][of.index])
    assert environment(1, torch.device(device))["device"] == name


@pytest.mark.parametrize("left", ["", '{"threads": 1, "dev', None])
def test_an_environment_that_is_lost(
    left: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write(tmp_path)
    run(recipe, tmp_path / "cut", kill=5)
    known = tmp_path / "cut" / "environment.json"
    whole = known.read_text()
    known.unlink()
    if left is not None:
        known.write_text(left)
    run(recipe, tmp_path / "cut", resume=True, kill=6)
    assert "environment.json cannot be read" in capsys.readouterr().err
    assert known.read_text() == whole


def test_a_full_disk_leaves_what_the_folder_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written anew only where it changed, and then whole or not at all."""
    recipe = write(tmp_path)
    run(recipe, tmp_path / "cut", kill=5)
    said = [tmp_path / "cut" / name for name in ("recipe.yaml", "environment.json")]
    files = [path.stat().st_ino for path in said]
    run(recipe, tmp_path / "cut", resume=True, kill=6)
    assert [path.stat().st_ino for path in said] == files

    texts = [path.read_text() for path in said]
    texts[0], texts[1] = "# Mine\n" + texts[0], texts[1].replace('"threads": ', '"threads": 9')
    for path, text in zip(said, texts, strict=True):
        path.write_text(text)
        with monkeypatch.context() as patch, pytest.raises(compiler.CompileError, match=_on_full(path.name)):
            patch.setattr(Path, "open", full_disk(path.name))
            run(recipe, tmp_path / "cut", resume=True)
        assert path.read_text() == text and not list(path.parent.glob(".*.tmp"))
        run(recipe, tmp_path / "cut", resume=True, kill=7)
        assert path.read_text() != text


def _on_full(name: str) -> str:
    return f"cannot write to {name}: No space left on device; what was there is unchanged"


def test_a_line_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write(tmp_path)
    whole = run(recipe, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(compiler.CompileError) as caught:
        patch.setattr(Path, "open", full_disk("metrics.jsonl", 6))
        run(recipe, tmp_path / "cut")
    assert "cannot write to metrics.jsonl: No space left on device" in str(caught.value)
    assert same(run(recipe, tmp_path / "cut", resume=True), whole)
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


@pytest.mark.parametrize("setting", [{"train__workers": 2}, {"checkpoint__keep": 1}, EVERY])
def test_what_changes_no_result_may_change(setting: dict[str, Any], tmp_path: Path) -> None:
    recipe = write(tmp_path)
    run(recipe, tmp_path / "cut", kill=5)
    run(recipe, tmp_path / "cut", resume=True, kill=9, **setting)
    assert (tmp_path / "cut" / "last").resolve().name == f"last-{8 if setting == EVERY else 6:08d}"


def test_all_generations_are_damaged(tmp_path: Path) -> None:
    """To begin anew in silence would take what may be saved yet."""
    recipe = write(tmp_path)
    run(recipe, tmp_path / "cut", kill=8)
    states = sorted((tmp_path / "cut" / "checkpoints").glob("last-*/state.json"))
    for state in states:
        state.write_text("")
    before = (tmp_path / "cut" / "metrics.jsonl").read_text()
    with pytest.raises(compiler.CompileError, match=r"is damaged \(last-00000006, last-00000003\)"):
        run(recipe, tmp_path / "cut", resume=True)
    assert (tmp_path / "cut" / "metrics.jsonl").read_text() == before and len(states) == 2


def test_only_the_same_recipe_is_resumed(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    run(recipe, tmp_path / "cut", kill=5)
    with pytest.raises(compiler.CompileError, match=r"`optimizer\.lr` differs"):
        run(recipe, tmp_path / "cut", resume=True, optimizer__lr=1.0)
    with pytest.raises(compiler.CompileError, match="exists and is not empty"):
        run(recipe, tmp_path / "cut")
    with pytest.raises(compiler.CompileError, match="no run in"):
        run(recipe, tmp_path / "none", resume=True)


def test_a_run_killed_before_it_said_what_it_is(tmp_path: Path) -> None:
    """What it left is nothing to go on with, and nothing in the way."""
    recipe = write(tmp_path)
    (tmp_path / "cut").mkdir()
    for name in (".lock", ".recipe.yaml.0123456789abcdef.tmp"):
        (tmp_path / "cut" / name).touch()
    run(recipe, tmp_path / "cut", kill=1)
    assert (tmp_path / "cut" / "recipe.yaml").is_file()


def test_a_field_that_came_after_the_run_began(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    whole = run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "cut", kill=5)
    kept = tmp_path / "cut" / "recipe.yaml"
    older = kept.read_text().replace("  optimize: []\n", "")
    assert older != kept.read_text()
    kept.write_text(older)
    assert same(run(recipe, tmp_path / "cut", resume=True), whole)
