"""What bfloat16 costs in quality: SmolLM2's perplexity on the Brown corpus, of `tests.artifacts` both."""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import runtime
from bench.table import AT_MOST, Row
from runtime.text import load_tokenizer
from tests.artifacts import ARTIFACTS

BROWN = ARTIFACTS["brown"].path.parent
LENGTH = 512


def rows(quick: bool) -> list[Row]:
    """None where the files are not there."""
    weights = ARTIFACTS["smollm2"].path
    if not weights.exists() or not BROWN.exists():
        return []
    tokenizer = load_tokenizer(weights)
    tokens = tokenizer.encode(_text(BROWN, 40_000 if quick else 150_000)).tokens[0]
    pieces = tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)
    found = {d: _perplexity(runtime.load(weights, dtype=d), pieces) for d in (torch.float32, torch.bfloat16)}
    exact, rounded = found.values()
    told = f"fp32 {exact:.3f}, bf16 {rounded:.3f} on {pieces.numel()} tokens"
    return [
        Row(
            "perplexity of SmolLM2 on Brown, bf16",
            "our fp32",
            abs(rounded / exact - 1) * 100,
            AT_MOST,
            1.0,
            "%",
            told,
        )
    ]


def _text(folder: Path, characters: int) -> str:
    """Running text of the corpus: its files hold word/TAG."""
    files = sorted(p for p in folder.iterdir() if re.fullmatch(r"c[a-r]\d\d", p.name))
    words: list[str] = []
    size = 0
    for file in files[:: max(1, len(files) // 20)]:
        own = [w.rpartition("/")[0] for w in file.read_text(encoding="latin-1").split()]
        words += own
        size += sum(map(len, own)) + len(own)
        if size > characters:
            break
    return " ".join(words)[:characters]


@torch.inference_mode()
def _perplexity(model: nn.Module, pieces: torch.Tensor) -> float:
    """Over all tokens but the first of each piece."""
    losses = [F.cross_entropy(model(p[None])[0, :-1].float(), p[1:], reduction="sum") for p in pieces]
    return float(torch.stack(losses).sum().div(pieces.shape[0] * (pieces.shape[1] - 1)).exp())
