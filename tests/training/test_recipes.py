"""The packaged recipes: each runs, shrunk to seconds, on its real data."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from compiler.source.paths import packaged
from runtime.training.recipe import read_recipe
from runtime.training.run import evaluate, train
from tests.artifacts import FOLDER, need

#: recipe -> what is fetched for it
NEEDS: Mapping[str, tuple[str, ...]] = {"char_gpt": ("brown",)}


def test_every_recipe_is_here() -> None:
    assert {path.stem for path in packaged("recipes").glob("*.yaml")} == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_smoke(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for artifact in NEEDS[name]:
        need(artifact)
    monkeypatch.setenv("BLOCKWRIGHT_DATA", str(FOLDER))
    monkeypatch.chdir(tmp_path)
    folder = train(name, smoke=True, log=io.StringIO())
    assert folder == Path("runs") / name
    assert read_recipe(folder / "recipe.yaml").resolved() == (folder / "recipe.yaml").read_text()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    best = next(row["valid"] for row in reversed(rows) if row.get("best"))
    batches = read_recipe(folder / "recipe.yaml").file.evaluate.batches
    assert evaluate(folder, batches=batches) == pytest.approx(best, rel=1e-6)
    assert (folder / "README.md").read_text().startswith("---\n")
    assert (folder / "curve.svg").read_text().startswith("<svg ")
