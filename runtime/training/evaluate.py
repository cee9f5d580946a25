"""The figures of a model on the held-out part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from runtime.parallel.world import ALONE, Share, World
from runtime.training.batches import held_out_batches, in_order
from runtime.training.data.common import Data, Examples
from runtime.training.metrics import METRICS, Figures
from runtime.training.recipe import RecipeFile
from runtime.training.step import Trained


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

    def numbers(self, size: int) -> range:
        """Which of so many examples are measured."""
        return range(size if self.batches is None else min(size, self.batches * self.batch))


def measure(
    trained: Trained,
    data: Data,
    examples: Examples,
    how: Measuring,
    world: World = ALONE,
    between: Callable[[], None] = lambda: None,
) -> Figures:
    """metric -> figure over examples of the data. The model comes out in train mode.

    between: called before each batch, on all processes; what it raises ends it.

    What the model itself draws at random follows from the number of the batch, and training's generator is
    not touched. The processes of a world take the batches in turn; all find what one alone would find.
    """
    trained = replace(trained, loss=trained.loss.measured)
    found = {name: METRICS[name](data) for name in dict.fromkeys(["loss", *how.metrics])}
    batches = in_order(len(how.numbers(len(examples))), how.batch)
    ours = _turns(len(batches), world.share)
    given: list[dict[str, tuple[Any, Any]]] = []
    devices = [trained.device.index or 0] if trained.device.type == "cuda" else []
    trained.model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            examples_of_ours = held_out_batches(data, examples, [batches[number] for number in ours])
            for number, example in zip(ours, examples_of_ours, strict=True):
                between()
                torch.manual_seed(number)
                example = trained.to_device(example)
                loss, outputs = trained.run(example)
                given.append({name: metric.given(loss, outputs, example) for name, metric in found.items()})
    finally:
        trained.model.train()
    everyone = world.shares(given)
    for number in range(len(batches)):
        turn, index = divmod(number, world.share.of)
        for name, metric in found.items():
            metric.take(*everyone[index][turn][name])
    return {name: metric.value() for name, metric in found.items()}


def _turns(batches: int, share: Share) -> list[int]:
    """The batches that a share reads: as many as any other, for a model in parts runs on all or on none.

    Where the last turn has none left for it, it reads the last batch, which nobody takes up.
    """
    return [min(first + share.index, batches - 1) for first in range(0, batches, share.of)]
