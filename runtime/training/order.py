"""The order in which examples come: a function of the seed and of how many were drawn before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from runtime.training.chance import generator

GROUP: Final = 50  # batches among which examples of like length find each other


@dataclass(frozen=True)
class Epochs:
    """Each epoch is a permutation of all examples.

    lengths: of the examples, where a batch is padded to its longest: those of like length come together,
    by the whole batch of a step, so that cutting it into parts changes nothing.
    """

    size: int
    seed: int
    batch: int
    lengths: Sequence[int] | None = None

    def order(self, epoch: int) -> list[int]:
        """The examples of an epoch; the first fill up the last batch of the epoch before."""
        drawn: list[int] = torch.randperm(self.size, generator=generator(self.seed, -1 - epoch)).tolist()
        if self.lengths is None:
            return drawn
        first = -epoch * self.size % self.batch
        out, step = drawn[:first], GROUP * self.batch
        for start in range(first, self.size, step):
            out += _alike(drawn[start : start + step], self.lengths, self.batch)
        return out


def _alike(drawn: list[int], lengths: Sequence[int], batch: int) -> list[int]:
    """Sorted by length and cut into batches; these in the order in which their shortest was drawn."""
    place = {index: number for number, index in enumerate(drawn)}
    alike = sorted(drawn, key=lambda index: lengths[index])
    batches = [alike[start : start + batch] for start in range(0, len(alike), batch)]
    rest = [batches.pop()] if len(batches[-1]) < batch else []
    batches.sort(key=lambda of: place[of[0]])
    return [index for of in [*batches, *rest] for index in of]
