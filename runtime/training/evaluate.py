"""The figures of a model on the held-out part."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import torch

from runtime.training.batches import held_out_batches
from runtime.training.data.common import Data, Examples
from runtime.training.metrics import METRICS
from runtime.training.recipe import RecipeFile
from runtime.training.step import Trained

Figures = dict[str, float]


@dataclass(frozen=True)
class Measuring:
    """What is measured, and on how much: `batches` batches of `batch` examples, or all."""

    metrics: tuple[str, ...]
    batch: int
    batches: int | None

    @classmethod
    def of(cls, file: RecipeFile) -> Measuring:
        """As a recipe says."""
        return cls(file.evaluate.metrics, file.train.batch, file.evaluate.batches)


def measure(trained: Trained, data: Data, examples: Examples, how: Measuring) -> Figures:
    """metric -> figure over examples of the data. The model comes out in train mode.

    What the model itself draws at random is the same each time, and training's generator is not touched.
    """
    found = {name: METRICS[name](data) for name in dict.fromkeys(["loss", *how.metrics])}
    devices = [trained.device.index or 0] if trained.device.type == "cuda" else []
    trained.model.eval()
    with torch.no_grad(), torch.random.fork_rng(devices):
        torch.manual_seed(0)
        for example in islice(held_out_batches(data, examples, how.batch), how.batches):
            example = trained.to_device(example)
            loss, outputs = trained.run(example)
            for metric in found.values():
                metric.add(loss, outputs, example)
    trained.model.train()
    return {name: metric.value() for name, metric in found.items()}
