"""The share of a step that a recipe waits for its data: models at full size, few steps, few examples.

What a recipe's data does to prepare an example is measured as it runs, without workers.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.table import AT_MOST, Row
from runtime.training.report import read_metrics
from runtime.training.run import train

#: What a recipe needs to run by itself, where it begins from another's run.
RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "char_gpt": {},
    "bpe_gpt": {},
    "brown_mlm": {},
    "imdb": {
        "model.weights": None,
        "tokenizer": {
            "kind": "bpe",
            "size": 8192,
            "special": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
            "ends": ["[CLS]", "[SEP]"],
        },
    },
    "imdb_lora": {},
    "imdb_deberta": {},
    "fashion_vit": {},
    "fashion_mae": {},
    "fashion_few": {"model.weights": None},
    "translation": {},
    "emoji_clip": {},
    "volumes_unetr": {},
}
WARM: Final = 2


def rows(quick: bool) -> list[Row]:
    """One a recipe; the first steps do not count."""
    return [_row(name, 4 if quick else 12) for name in RECIPES]


def _row(name: str, steps: int) -> Row:
    steps += WARM
    settings = {
        "train.steps": steps,
        "data.limit": 2000,
        "evaluate.every": steps,
        "evaluate.batches": 1,
        "evaluate.final_batches": 1,
        "evaluate.baselines": [],
        "evaluate.final": [],
        "checkpoint.every": steps,
        **RECIPES[name],
    }
    with TemporaryDirectory() as place:
        folder = train(name, Path(place) / "run", set=settings, log=io.StringIO())
        found = [row for row in read_metrics(folder) if "seconds" in row][WARM:]
    spent = sum(row["seconds"] for row in found)
    waited = sum(row["seconds"] * row["data"] for row in found)
    told = f"step {1e3 * spent / len(found):.1f} ms"
    return Row(f"recipe {name}: waiting for data", "its steps", 100 * waited / spent, AT_MOST, 5, "%", told)
