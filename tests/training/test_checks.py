"""What cannot be had of a recipe's data or machine is told at its place, before anything is written."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compiler import CompileError
from runtime.cli.main import main
from runtime.training import given
from runtime.training.baselines import unigram
from runtime.training.curve import draw
from runtime.training.recipe import read_recipe
from runtime.training.report import as_json, read_metrics
from runtime.training.run import evaluate, train
from tests.training.recipes import write

ARRAYS = """\
recipe: pictures
model:
  spec: simple_vit
  set: {image: 8, channels: 1, classes: 3, patch: 4, dim: 12, depth: 1, heads: 2}
data: {kind: arrays, path: PATH, arrays: {pixels: x, labels: y}, held_out: 0.25}
train: {steps: 2, batch: 4}
optimizer: {kind: adamw, lr: 1e-3}
evaluate: {every: 2, metrics: [accuracy]}
checkpoint: {every: 2}
"""
LINES: dict[str, Any] = {
    "data": {
        "kind": "lines",
        "source": "source.txt",
        "target": "target.txt",
        "language": "<xx>",
        "length": 40,
    },
    "tokenizer": {"kind": "characters", "special": ["[PAD]", "[UNK]", "[EOS]", "<xx>"]},
    "model.spec": "translation",
    "model.set": {"vocab": "=data.tokens", "context": 40, "dim": 12, "depth": 1, "heads": 2},
    "loss": {"kind": "cross_entropy", "smoothing": 0.3},
    "evaluate.metrics": ["perplexity"],
    "train.accumulate": 1,
}

REDRAWN: dict[str, Any] = {
    "model.spec": "vit_mae",
    "model.set": {"image": 8, "channels": 1, "patch": 4, "dim": 12, "depth": 1, "heads": 2}
    | {"dec_dim": 8, "dec_depth": 1, "dec_heads": 2},
    "data.arrays": {"pixels": "x"},
    "data.limit": 12,
    "evaluate.metrics": ["psnr"],
    "evaluate.final": ["reconstruction"],
}


def arrays(folder: Path, recipe: str = ARRAYS) -> Path:
    """32 pictures of three classes, and their recipe."""
    chance = np.random.default_rng(0)
    pixels = chance.standard_normal((32, 1, 8, 8)).astype("float32")
    np.savez(folder / "data.npz", x=pixels, y=np.arange(32) % 3, z=chance.random(32).astype("float32"))
    (folder / "pictures.yaml").write_text(recipe.replace("PATH", str(folder / "data.npz")))
    return folder / "pictures.yaml"


def lines(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Sentences of two languages, and what makes the tiny recipe translate them."""
    for name in ("source", "target"):
        (folder / f"{name}.txt").write_text("\n".join(f"{name} {i} is {'ab' * (i % 3)}" for i in range(60)))
    data = {**LINES["data"], **{n: str(folder / f"{n}.txt") for n in ("source", "target")}}
    return write(folder), {**LINES, "data": data}


def refused(recipe: Path, settings: Mapping[str, Any], *parts: str) -> str:
    """The report of a run that is refused, all of `parts` in it; nothing was written."""
    out = recipe.parent / "out"
    with pytest.raises(CompileError) as caught:
        train(recipe, out, set=settings, log=io.StringIO())
    assert not out.exists()
    report = str(caught.value)
    for part in parts:
        assert part in report, report
    return report


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("baselines", ["unigram"]),
        ("baselines", ["bigram"]),
        ("baselines", ["threshold"]),
        ("baselines", ["chance"]),
        ("baselines", ["nearest"]),
        ("final", ["sample"]),
        ("final", ["translation"]),
        ("final", ["reconstruction"]),
        ("final", ["zero_shot"]),
        ("metrics", ["bits_per_character"]),
        ("metrics", ["perplexity"]),
        ("metrics", ["dice"]),
    ],
)
def test_what_pictures_do_not_give(field: str, names: list[str], tmp_path: Path) -> None:
    report = refused(arrays(tmp_path), {f"evaluate.{field}": names}, f"`{names[0]}` ", f"evaluate.{field}:")
    assert report.endswith("1 error")


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("baselines", ["linear"]),
        ("baselines", ["mean_picture"]),
        ("baselines", ["threshold"]),
        ("final", ["reconstruction"]),
        ("final", ["translation"]),
        ("metrics", ["dice"]),
    ],
)
def test_what_text_does_not_give(field: str, names: list[str], tmp_path: Path) -> None:
    refused(write(tmp_path), {f"evaluate.{field}": names}, f"`{names[0]}` ", f"evaluate.{field}:")


def test_every_fault_of_a_recipe_comes_at_once(tmp_path: Path) -> None:
    asked = {"evaluate.baselines": ["unigram", "threshold"], "evaluate.final": ["sample"]}
    assert refused(arrays(tmp_path), asked).endswith("3 errors")


def test_classes_lie_along_the_last_axis(tmp_path: Path) -> None:
    """Those of volumes lie along the second: neither the metric nor the loss would count what is meant."""
    sizes = {"model.set.dim": 24, "model.set.base": 2, "data.size": 16, "data.count": 8, "train.steps": 2}
    for asked in (
        {"evaluate.metrics": ["accuracy"], "evaluate.best": "loss"},
        {"loss.kind": "cross_entropy"},
    ):
        with pytest.raises(CompileError, match="needs scores of classes along the last axis of `logits`"):
            train("volumes_unetr", tmp_path / "out", set={**sizes, "schedule.warmup": 0, **asked})
    with pytest.raises(CompileError, match="labels that are whole numbers"):
        train(
            arrays(tmp_path), tmp_path / "out", set={"data.arrays.labels": "z", "loss.kind": "cross_entropy"}
        )


def test_libraries_are_missed_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, settings = lines(tmp_path)
    monkeypatch.setattr(given, "find_spec", lambda name: None)
    refused(recipe, {**settings, "evaluate.final": ["translation"]}, "needs sacrebleu", "evaluate.final:")
    refused(arrays(tmp_path), REDRAWN, "`reconstruction` needs Pillow", "evaluate.final:")


def test_bits_are_not_of_characters_where_none_are_counted(tmp_path: Path) -> None:
    recipe, settings = lines(tmp_path)
    refused(
        recipe, {**settings, "evaluate.metrics": ["bits_per_character"]}, "`bits_per_character` needs running"
    )
    text = {"data.objective": "masked", "tokenizer.special": ["[MASK]"], "loss.kind": "cross_entropy"}
    refused(write(tmp_path), text, "`bits_per_character` needs running text")


def test_a_short_window_is_continued_from_its_half(tmp_path: Path) -> None:
    settings = {"data.length": 8, "train.steps": 4, "evaluate.final": ["sample"]}
    folder = train(write(tmp_path), tmp_path / "out", set=settings, log=io.StringIO())
    text = (folder / "README.md").read_text().partition("### Sample")[2]
    assert len(text.split("```text\n")[1].partition("\n```")[0]) == 8


def test_fewer_pictures_than_are_shown(tmp_path: Path) -> None:
    folder = train(arrays(tmp_path), tmp_path / "out", set=REDRAWN, log=io.StringIO())
    assert (folder / "reconstruction.png").is_file()


def test_held_out_figures_are_without_smoothing(tmp_path: Path) -> None:
    """What is measured of smoothed training is what is measured of training that is not smoothed."""
    recipe, settings = lines(tmp_path)
    settings |= {
        "optimizer.lr": 1e-9,
        "optimizer.weight_decay": 0.0,
        "model.set.dropout": 0.0,
        "train.steps": 4,
    }
    found = []
    for smoothing in (0.0, 0.3):
        out = tmp_path / str(smoothing)
        train(recipe, out, set={**settings, "loss.smoothing": smoothing}, log=io.StringIO())
        rows = read_metrics(out)
        found.append((rows[0]["loss"], evaluate(out)))
    (plain, figures), (smoothed, same) = found
    assert abs(plain - smoothed) > 1e-3
    assert same == pytest.approx(figures, rel=1e-5)
    assert same["perplexity"] == pytest.approx(math.exp(same["loss"]))


def test_a_device_that_is_not_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write(tmp_path)
    absent = ["gpu", "meta"] + ([] if torch.cuda.is_available() else ["cuda", "cuda:1"])
    for name in absent:
        refused(recipe, {"train.device": name}, f"nothing can be computed on `{name}`", "train.device:")
    folder = train(recipe, tmp_path / "out", set={"train.steps": 4}, log=io.StringIO())
    expected = evaluate(folder)
    kept = folder / "recipe.yaml"
    kept.write_text(kept.read_text().replace("device: cpu", f"device: {absent[-1]}"))
    assert evaluate(folder) == expected
    assert f"note: the run was on `{absent[-1]}`, which is not here" in capsys.readouterr().err
    assert main(["eval", str(folder), "--device", "cpu", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == expected and not told.err
    assert main(["eval", str(folder), "--device", "gpu"]) == 1
    assert "nothing can be computed on `gpu`" in capsys.readouterr().err


def test_a_count_of_batches_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for count in ("0", "-1"):
        with pytest.raises(SystemExit) as caught:
            main(["eval", str(tmp_path), "--batches", count])
        assert caught.value.code == 2
    folder = train(write(tmp_path), tmp_path / "out", set={"train.steps": 4}, log=io.StringIO())
    with pytest.raises(CompileError, match="`batches` is a whole number from 1, not 0"):
        evaluate(folder, batches=0)


def test_what_is_no_number_is_null_in_json() -> None:
    text = as_json({"step": 3, "valid": {"loss": math.nan, "perplexity": math.inf, "accuracy": 0.5}})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "step": 3,
        "valid": {"loss": None, "perplexity": None, "accuracy": 0.5},
    }


def test_a_curve_leaves_out_what_is_no_number() -> None:
    rows = [{"step": step, "loss": 2.0, "lr": 0.1} for step in (1, 2)]
    measured = [{"step": step, "valid": {"loss": loss}} for step, loss in ((1, None), (2, 3.0))]
    picture = draw("run", [*rows, *measured], {})
    assert picture.count("<circle") == 1 and "held out 3.000" in picture


def test_metrics_jsonl_is_json(tmp_path: Path) -> None:
    """A perplexity that no float holds, and a curve without that point."""
    settings = {"evaluate.metrics": ["perplexity"], "train.steps": 4, "evaluate.best": "loss"}
    big = {**settings, "optimizer.kind": "sgd", "optimizer.lr": 1e6, "train.clip": None, "train.steps": 1}
    out = tmp_path / "out"
    train(write(tmp_path), out, set={**big, "schedule": {"kind": "constant"}}, log=io.StringIO())
    rows = [json.loads(line, parse_constant=pytest.fail) for line in (out / "metrics.jsonl").open()]
    assert rows[-1]["valid"]["perplexity"] is None and rows[-1]["valid"]["loss"] > 710
    assert (out / "curve.svg").read_text().startswith("<svg ")


def test_nothing_left_to_train(tmp_path: Path) -> None:
    refused(write(tmp_path), {"model.freeze": ["*"]}, "no parameter is left to train", "model.freeze:")


def test_arrays_that_nothing_reads(tmp_path: Path) -> None:
    recipe = arrays(tmp_path, ARRAYS.replace("labels: y", "label: y").replace("metrics: [accuracy]", ""))
    report = refused(recipe, {}, "error[unused-input]: nothing reads `label`", "did you mean `labels`?")
    assert "`loss` from `labels`, which the data does not give" in report
    refused(
        recipe, {"loss.kind": "cross_entropy"}, "`labels` is neither an output of the spec nor in the data"
    )
    refused(arrays(tmp_path), {"data.arrays.weight": "z"}, "nothing reads `weight`")


def test_an_empty_recipe(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("{}\n")
    with pytest.raises(CompileError, match="not a recipe"):
        read_recipe(tmp_path / "empty.yaml")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer.betas", [0.9, 1.0]),
        ("optimizer.betas", [-0.1, 0.9]),
        ("optimizer.lr", math.inf),
        ("train.clip", math.inf),
        ("seed", 2**64),
    ],
)
def test_bounds(field: str, value: object, tmp_path: Path) -> None:
    refused(write(tmp_path), {field: value}, "error[wrong-type]", f"{field}:")


def test_settings_without_effect(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    refused(recipe, {"schedule": {"kind": "constant", "floor": 0.1}}, "no `floor`", "error[conflict]")
    refused(recipe, {"train.steps": 3}, "a warm-up of 3 steps does not end within 3", "train.steps: 3")
    for field in ("fresh", "unused"):
        refused(recipe, {f"model.{field}": ["head.*"]}, f"`{field}` is about `weights`", f"model.{field}:")
    without = {"model.weights": None, "model.fresh": ["head.*"]}  # as a recipe with weights is overridden
    again = read_recipe(recipe, without).resolved()
    (tmp_path / "again.yaml").write_text(again)
    assert read_recipe(tmp_path / "again.yaml").resolved() == again
    assert read_recipe(recipe, {"train.steps": 3}, smoke=True).schedule.warmup == 0


def test_baselines_are_measured_on_what_the_model_is(tmp_path: Path) -> None:
    settings = {"evaluate.final_batches": 2, "evaluate.baselines": ["unigram"], "train.steps": 4}
    folder = train(write(tmp_path), tmp_path / "out", set=settings, log=io.StringIO())
    recipe = read_recipe(folder / "recipe.yaml")
    assert recipe.tokenizer is not None
    data = recipe.data.read(recipe.tokenizer.start())
    of_some, of_all = (unigram(data, range(size)) for size in (12, len(data.final)))
    cells = [of_some["loss"], of_some["bits_per_character"]]
    assert cells[0] != of_all["loss"]
    assert f"| unigram | {cells[0]:.4f} | {cells[1]:.4f} |" in (folder / "README.md").read_text()
