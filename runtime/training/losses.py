"""What is minimised: the spec's own loss, or one over its outputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import torch.nn.functional as F
from torch import Tensor

from runtime.training.data.common import IGNORED, Example
from runtime.training.fields import KindSection, Share, Word
from runtime.training.given import Given

Outputs = Mapping[str, Tensor]


class LossSection(KindSection):
    """A loss, a mean over what is counted."""

    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """The model's outputs and the batch's entries that it reads."""

    def why_not(self, given: Given) -> str:
        """Why it cannot be taken of what is given, empty where it can."""
        return ""

    @property
    def measured(self) -> LossSection:
        """What is measured where nothing is trained: the loss without what only training needs."""
        return self

    @abstractmethod
    def of(self, outputs: Outputs, batch: Example) -> Tensor:
        """The loss of a batch, float[]."""


class Own(LossSection):
    """The spec's output `loss`."""

    def needs(self) -> tuple[str, ...]:
        """`loss`."""
        return ("loss",)

    def of(self, outputs: Outputs, batch: Example) -> Tensor:
        """What the model says."""
        return outputs["loss"]


class CrossEntropy(LossSection):
    """Cross-entropy of the last axis of an output against the labels. smoothing: of labels, in training."""

    output: Word = "logits"
    smoothing: Share = 0.0

    def needs(self) -> tuple[str, ...]:
        """The output of the recipe's choice, and the labels."""
        return (self.output, "labels")

    def why_not(self, given: Given) -> str:
        """A class for each label."""
        return given.why_not_classes(self.output)

    @property
    def measured(self) -> LossSection:
        """Without smoothing."""
        return self.model_copy(update={"smoothing": 0.0})

    def of(self, outputs: Outputs, batch: Example) -> Tensor:
        """The mean over the labels that are not IGNORED, in float32 whatever the model computes in."""
        logits, labels = outputs[self.output].float(), batch["labels"]
        flat = logits.reshape(-1, logits.shape[-1])
        return F.cross_entropy(flat, labels.reshape(-1), ignore_index=IGNORED, label_smoothing=self.smoothing)


def counted(batch: Example) -> int:
    """What the mean of a batch's loss is over: its labels that count, or its examples."""
    labels = batch.get("labels")
    if labels is None:
        return len(next(iter(batch.values())))
    return int((labels != IGNORED).sum())


LOSSES: Final[Mapping[str, type[LossSection]]] = MappingProxyType({"own": Own, "cross_entropy": CrossEntropy})
