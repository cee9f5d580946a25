"""The loop against one that we did not write: transformers' GPT-2 and torch's AdamW, step by step."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW
from transformers import GPT2LMHeadModel

import compiler
import runtime
from runtime.training.batches import training_batches
from runtime.training.data.common import Data
from runtime.training.order import Epochs
from runtime.training.recipe import Recipe, read_recipe
from runtime.training.run import train
from tests.training.recipes import RECIPE, write

STEPS = 50


@pytest.mark.parametrize("optimize", [[], ["loss"]], ids=["plain", "loss"])
def test_fifty_steps(tmp_path: Path, optimize: list[str]) -> None:
    sizes = dict(vocab=30, context=16, dim=24, depth=2, heads=3)
    torch.manual_seed(5)
    runtime.export(compiler.build("char_gpt", set=sizes), tmp_path / "start")
    recipe = write(tmp_path, _plain(tmp_path / "start"))
    settings = {"train.optimize": optimize, "evaluate.metrics": ["perplexity"], "evaluate.final": ["sample"]}
    folder = train(recipe, tmp_path / "run", set=settings, log=io.StringIO())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    ours = [row["loss"] for row in rows if "loss" in row]
    theirs = reference(read_recipe(recipe), tmp_path / "start")
    assert len(ours) == STEPS and ours[-1] < ours[0] - 0.5
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1.3e-6, atol=1e-5)


def _plain(start: Path) -> str:
    """Without dropout, which draws other numbers there, and in whole batches."""
    text = RECIPE.replace("dropout: 0.2}\n", f"dropout: 0.0}}\n  weights: {start}\n")
    return text.replace("steps: 12, batch: 6, accumulate: 3", f"steps: {STEPS}, batch: 6")


def reference(recipe: Recipe, start: Path) -> list[float]:
    """A plain loop on the same batches: biases and norms undecayed, a cosine after three steps of warm-up."""
    model = GPT2LMHeadModel.from_pretrained(start, attn_implementation="eager").train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    named = list(model.named_parameters())
    decayed = [p for _, p in named if p.dim() > 1]
    rest = [p for _, p in named if p.dim() <= 1]
    optimizer = AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=1e-2
    )
    assert recipe.tokenizer is not None
    data: Data = recipe.data.read(recipe.tokenizer.start())
    batches = training_batches(data, Epochs(len(data.train), recipe.file.seed, 6), 6, 0, 0)
    losses = []
    for step in range(STEPS):
        half = torch.cos(torch.tensor(torch.pi * (step - 3) / (STEPS - 3), dtype=torch.float64))
        rate = 1e-2 * ((step + 1) / 4 if step < 3 else float(1 + half) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = next(batches)
        loss = model(input_ids=batch["tokens"], labels=batch["labels"]).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
