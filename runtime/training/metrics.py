"""What is measured on the held-out part: sums over batches, and the figure they give."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from runtime.training.data.common import IGNORED, Data, Example
from runtime.training.given import Given, is_whole
from runtime.training.losses import Outputs, counted

Figures = dict[str, float]  # by the names of metrics


class Metric(ABC):
    """A figure over batches. up: whether more is better. needs: the outputs and batch entries it reads.

    What a batch gives can be taken up elsewhere: it is plain data, and batches are taken up in their order.
    """

    up: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data: Data) -> None:
        self.data = data
        self.sum = 0.0
        self.count = 0

    @classmethod
    def why_not(cls, given: Given) -> str:
        """Why it cannot be taken of what is given, beside what it needs; empty where it can."""
        return ""

    @abstractmethod
    def given(self, loss: Tensor, outputs: Outputs, batch: Example) -> tuple[Any, Any]:
        """What a batch gives: by default a sum and the count that it is over."""

    def take(self, sum: Any, count: Any) -> None:
        """Take up what a batch gave."""
        self.sum += sum
        self.count += count

    def value(self) -> float:
        """The figure so far."""
        return self.sum / max(1, self.count)


class Loss(Metric):
    """The mean of the loss over all that it counts."""

    def given(self, loss: Tensor, outputs: Outputs, batch: Example) -> tuple[float, int]:
        """Weigh a batch's mean by what it is over; the mean over nothing is no number."""
        count = counted(batch)
        return (float(loss) * count if count else 0.0), count


class BitsPerCharacter(Loss):
    """The loss of a language model in bits, per character of the held-out text."""

    @classmethod
    def why_not(cls, given: Given) -> str:
        """Only a model that predicts every token has written the text."""
        if given.data.characters_per_token is None or not given.data.ahead:
            return "needs running text, each token predicted from those before it"
        return ""

    def value(self) -> float:
        """From nats per token."""
        assert self.data.characters_per_token is not None
        return super().value() / math.log(2) / self.data.characters_per_token


class Perplexity(Loss):
    """e to the loss per token."""

    @classmethod
    def why_not(cls, given: Given) -> str:
        """Labels have to be tokens: int[B, T]."""
        labels = given.batch.get("labels")
        if labels is not None and labels.dim() == 2 and is_whole(labels):
            return ""
        return "needs labels that are tokens"

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

    @classmethod
    def why_not(cls, given: Given) -> str:
        """A class for each label."""
        return given.why_not_classes("logits")

    def given(self, loss: Tensor, outputs: Outputs, batch: Example) -> tuple[int, int]:
        """Count the hits."""
        found, labels = outputs["logits"].argmax(-1), batch["labels"]
        if self.data.ahead:
            found, labels = found[:, : -self.data.ahead], labels[:, self.data.ahead :]
        counts = labels != IGNORED
        hits = (found == labels) & counts
        return int(hits.sum()), int(counts.sum())


class Psnr(Metric):
    """The peak signal-to-noise ratio, in dB, of the hidden patches that were redrawn; pixels in [0, 1]."""

    up = True
    needs = ("logits", "mask", "pixels")

    def given(self, loss: Tensor, outputs: Outputs, batch: Example) -> tuple[float, int]:
        """Sum squared errors of hidden patches; logits: float[B, N, patch * patch * C]."""
        redrawn, hidden = outputs["logits"].float(), outputs["mask"].float()
        goal = patches(batch["pixels"], redrawn.shape[1])
        error = ((redrawn - goal) * self.data.pixel_std).square().mean(-1)
        return float((error * hidden).sum()), int(hidden.sum())

    def value(self) -> float:
        """From the mean squared error."""
        return decibels(super().value())


def patches(pixels: Tensor, count: int) -> Tensor:
    """float[B, C, H, W] as float[B, N, patch * patch * C], each patch row by row, its channels last."""
    batch, channels, height, _ = pixels.shape
    side = math.isqrt(count)
    patch = height // side
    cut = pixels.reshape(batch, channels, side, patch, side, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, count, patch * patch * channels)


def decibels(error: float) -> float:
    """The PSNR of a mean squared error."""
    return -10 * math.log10(error) if error > 0 else math.inf


class Dice(Metric):
    """Twice the overlap over the sum of both volumes, the mean over the classes that are something."""

    up = True
    needs = ("logits", "labels")

    @classmethod
    def why_not(cls, given: Given) -> str:
        """Labels have to be volumes: int[B, X, Y, Z]."""
        labels = given.batch["labels"]
        if "classes" not in given.data.facts or labels.dim() < 3:
            return "needs volumes with a class for each voxel"
        return ""

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.overlap = torch.zeros(data.facts["classes"], dtype=torch.long)
        self.total = torch.zeros(data.facts["classes"], dtype=torch.long)

    def given(self, loss: Tensor, outputs: Outputs, batch: Example) -> tuple[Tensor, Tensor]:
        """logits: float[B, classes, X, Y, Z]."""
        return self.voxels(outputs["logits"].argmax(1), batch["labels"])

    def voxels(self, found: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """How many are in both, and how many in either counted twice, by class."""
        overlap, total = torch.zeros_like(self.overlap), torch.zeros_like(self.total)
        for kind in range(1, len(total)):
            ours, theirs = found == kind, labels == kind
            overlap[kind] = int((ours & theirs).sum())
            total[kind] = int(ours.sum()) + int(theirs.sum())
        return overlap, total

    def take(self, overlap: Tensor, total: Tensor) -> None:
        """By class."""
        self.overlap += overlap
        self.total += total

    def value(self) -> float:
        """Over all that was counted."""
        return float((2 * self.overlap[1:] / self.total[1:].clamp(min=1)).mean())


class Recall(Metric):
    """How often the partner is among the `best` nearest of all that were read.

    Those that are equally near are counted as if in random order, so that a model for which all are alike
    finds as many as chance does.
    """

    up = True
    needs = ("image_embed", "text_embed")
    best: ClassVar[int] = 1
    reverse: ClassVar[bool] = False

    def __init__(self, data: Data) -> None:
        super().__init__(data)
        self.images: list[Tensor] = []
        self.texts: list[Tensor] = []

    def given(self, loss: Tensor, outputs: Outputs, batch: Example) -> tuple[Tensor, Tensor]:
        """The normalised vectors, float[B, D]."""
        return outputs["image_embed"].float().cpu(), outputs["text_embed"].float().cpu()

    def take(self, images: Tensor, texts: Tensor) -> None:
        """Keep them."""
        self.images.append(images)
        self.texts.append(texts)

    def value(self) -> float:
        """The share found."""
        sim = torch.cat(self.images) @ torch.cat(self.texts).T
        sim = sim.T if self.reverse else sim
        own = sim.diagonal()[:, None]
        nearer = (sim > own).sum(1)
        alike = len(sim) - nearer - (sim < own).sum(1)  # its own, and whatever is no number
        return float(((self.best - nearer) / alike).clamp(0, 1).mean())


class ImageToText1(Recall):
    """The right text is the nearest."""


class ImageToText5(Recall):
    """The right text is among the 5 nearest."""

    best = 5


class ImageToText10(Recall):
    """The right text is among the 10 nearest."""

    best = 10


class TextToImage1(Recall):
    """The right picture is the nearest."""

    reverse = True


class TextToImage5(TextToImage1):
    """The right picture is among the 5 nearest."""

    best = 5


class TextToImage10(TextToImage1):
    """The right picture is among the 10 nearest."""

    best = 10


METRICS: Final[Mapping[str, type[Metric]]] = MappingProxyType(
    {
        "loss": Loss,
        "bits_per_character": BitsPerCharacter,
        "perplexity": Perplexity,
        "accuracy": Accuracy,
        "psnr": Psnr,
        "dice": Dice,
        "image_to_text_1": ImageToText1,
        "image_to_text_5": ImageToText5,
        "image_to_text_10": ImageToText10,
        "text_to_image_1": TextToImage1,
        "text_to_image_5": TextToImage5,
        "text_to_image_10": TextToImage10,
    }
)
