"""What is measured on the held-out part: sums over batches, and the figure they give."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from torch import Tensor

from runtime.training.data.common import IGNORED, Data, Example
from runtime.training.losses import Outputs, counted


class Metric(ABC):
    """A figure over batches. up: whether more is better. needs: the outputs and batch entries it reads."""

    up: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data: Data) -> None:
        self.data = data
        self.sum = 0.0
        self.count = 0

    @abstractmethod
    def add(self, loss: Tensor, outputs: Outputs, batch: Example) -> None:
        """Count a batch."""

    def value(self) -> float:
        """The figure so far."""
        return self.sum / max(1, self.count)


class Loss(Metric):
    """The mean of the loss over all that it counts."""

    def add(self, loss: Tensor, outputs: Outputs, batch: Example) -> None:
        """Weigh a batch's mean by what it is over."""
        self.sum += float(loss) * counted(batch)
        self.count += counted(batch)


class BitsPerCharacter(Loss):
    """The loss of a language model in bits, per character of the held-out text."""

    def value(self) -> float:
        """From nats per token."""
        return super().value() / math.log(2) / self.data.characters_per_token


class Perplexity(Loss):
    """e to the loss per token."""

    def value(self) -> float:
        """Infinite where it exceeds what a float holds."""
        try:
            return math.exp(super().value())
        except OverflowError:
            return math.inf


class Accuracy(Metric):
    """The share of labels that the largest logit names; labels that no loss counts are left out."""

    up = True
    needs = ("logits", "labels")

    def add(self, loss: Tensor, outputs: Outputs, batch: Example) -> None:
        """Count the hits."""
        labels = batch["labels"]
        counts = labels != IGNORED
        hits = (outputs["logits"].argmax(-1) == labels) & counts
        self.sum += int(hits.sum())
        self.count += int(counts.sum())


METRICS: Final[Mapping[str, type[Metric]]] = MappingProxyType(
    {"loss": Loss, "bits_per_character": BitsPerCharacter, "perplexity": Perplexity, "accuracy": Accuracy}
)
