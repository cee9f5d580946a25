"""The packaged recipes: each runs, shrunk to seconds, on its real data."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from compiler import CompileError
from compiler.source.paths import packaged
from runtime.training.data.text import Windows
from runtime.training.recipe import read_recipe
from runtime.training.run import evaluate, train
from tests.artifacts import CATALOGUES, FOLDER, need
from tests.training.recipes import RECIPE, write

#: recipe -> what is fetched for it
NEEDS: Mapping[str, tuple[str, ...]] = {
    "char_gpt": ("brown",),
    "bpe_gpt": ("brown",),
    "brown_mlm": ("brown",),
    "imdb": ("reviews",),
    "imdb_lora": ("reviews", "minilm"),
    "imdb_deberta": ("reviews",),
    "fashion_vit": ("fashion",),
    "fashion_mae": ("fashion",),
    "fashion_few": ("fashion",),
    "emoji_clip": ("emoji",),
    "translation": tuple(CATALOGUES),
    "volumes_unetr": (),
}


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
    text = (folder / "README.md").read_text()
    found = evaluate(folder, batches=read_recipe(folder / "recipe.yaml").file.evaluate.final_batches)
    assert f"| this model | {' | '.join(f'{value:.4f}' for value in found.values())} |" in text
    assert text.startswith("---\n")
    assert (folder / "curve.svg").read_text().startswith("<svg ")


def test_null_is_what_is_left_out(tmp_path: Path) -> None:
    plain = read_recipe(write(tmp_path))
    asked = {"train.clip": None, "evaluate.patience": None, "evaluate.batches": None, "data.limit": None}
    file = read_recipe(write(tmp_path), asked).file
    assert plain.file.train.clip == 1.0 and file.train.clip is None
    assert (file.evaluate.patience, file.evaluate.batches) == (None, None)
    for wrong in ({"train.clip": 0}, {"evaluate.patience": 0}, {"data.limit": 1.5}):
        with pytest.raises(CompileError, match=r"greater than|whole number"):
            read_recipe(write(tmp_path), wrong)


@pytest.mark.parametrize(
    ("set", "told"),
    [
        ({"data.masked": 0.3}, "nothing is hidden with `objective: next`"),
        ({"data": {"kind": "volumes", "count": 9}}, "data of the kind `volumes` reads no text"),
        (
            {"data": {"kind": "idx", "path": "x", "images": "a", "labels": "b", "test_images": "c"}},
            "`test_images` and `test_labels` go together",
        ),
    ],
)
def test_a_field_without_effect_is_told(set: Mapping[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as raised:
        read_recipe(write(tmp_path), set)
    found = {d.message: d for d in raised.value.diagnostics}
    (message,) = (message for message in found if message.startswith(told))
    assert found[message].code == "conflict" and found[message].span is not None


def test_a_share_of_hidden_tokens(tmp_path: Path) -> None:
    recipe = write(tmp_path, RECIPE.replace("{kind: characters}", '{kind: characters, special: ["[MASK]"]}'))
    for share in (None, 0.3):
        found = read_recipe(recipe, {"data.objective": "masked", "data.masked": share})
        assert found.tokenizer is not None
        data = found.data.read(found.tokenizer.start())
        assert isinstance(data.train, Windows) and data.train.mask is not None
        assert data.train.mask.share == (share or 0.15)
        (tmp_path / "kept.yaml").write_text(found.resolved())
        assert read_recipe(tmp_path / "kept.yaml").resolved() == found.resolved()
