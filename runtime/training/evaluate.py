"""The figures of a model on the held-out part."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import torch

from runtime.training.batches import held_out_batches
from runtime.training.data.common import Data
from runtime.training.metrics import METRICS
from runtime.training.step import Trained

Figures = dict[str, float]


def measure(trained: Trained, data: Data, metrics: Sequence[str], batch: int, batches: int | None) -> Figures:
    """metric -> figure over the first `batches` batches, or all. The model comes out in train mode.

    What the model itself draws at random is the same each time, and training's generator is not touched.
    """
    found = {name: METRICS[name](data) for name in dict.fromkeys(["loss", *metrics])}
    devices = [trained.device.index or 0] if trained.device.type == "cuda" else []
    trained.model.eval()
    with torch.no_grad(), torch.random.fork_rng(devices):
        torch.manual_seed(0)
        for example in islice(held_out_batches(data, batch), batches):
            example = trained.to_device(example)
            loss, outputs = trained.run(example)
            for metric in found.values():
                metric.add(loss, outputs, example)
    trained.model.train()
    return {name: metric.value() for name, metric in found.items()}
