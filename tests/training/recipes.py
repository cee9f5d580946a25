"""A tiny language model's recipe for tests: dropout, shuffling and chance everywhere, done in a second."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

RECIPE = """\
recipe: tiny
seed: 3
model:
  spec: char_gpt
  set: {vocab: =data.tokens, context: =data.length, dim: 24, depth: 2, heads: 3, dropout: 0.2}
tokenizer: {kind: characters}
data: {kind: text, path: text.txt, length: 16, held_out: 0.2}
train: {steps: 12, batch: 6, accumulate: 3, clip: 1.0}
optimizer: {kind: adamw, lr: 1e-2, weight_decay: 0.1}
schedule: {kind: cosine, warmup: 3}
evaluate: {every: 4, batches: 3, metrics: [bits_per_character, accuracy]}
checkpoint: {every: 3}
"""


def text() -> str:
    """A few hundred lines with some order in them."""
    verbs = ("sees", "hears", "follows", "forgets")
    names = ("the cat", "a dog", "one bird", "my horse", "the old man")
    lines = [f"{names[i % 5]} {verbs[i * i % 4]} {names[i * 7 % 3]} in room {i % 13}." for i in range(300)]
    return "\n".join(lines) + "\n"


def write(folder: Path, recipe: str = RECIPE) -> Path:
    """The recipe and its text in a folder; the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_text(text(), encoding="utf-8")
    (folder / "tiny.yaml").write_text(recipe.replace("path: text.txt", f"path: {folder / 'text.txt'}"))
    return folder / "tiny.yaml"


def full_disk(name: str, first: int = 1) -> Callable[..., Any]:
    """`Path.open` on a disk that is full from the `first` time on that a file called so is to be written."""
    opened, times = Path.open, itertools.count(1)

    def found(self: Path, mode: str = "r", *given: Any, **more: Any) -> Any:
        full = name in self.name and not mode.startswith("r") and next(times) >= first
        return opened(Path("/dev/full") if full else self, mode, *given, **more)

    return found
