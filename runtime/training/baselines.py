"""What a model has to beat: figures from simple rules, learned and measured on the very same split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from runtime.training.data.captions import Captioned
from runtime.training.data.common import IGNORED, Data, Examples
from runtime.training.data.text import Windows
from runtime.training.metrics import Dice, decibels
from runtime.training.translations import nearest

Figures = dict[str, float]


def unigram(data: Data) -> Figures:
    """Each token by how often it occurs in the text to train on, every count raised by one."""
    train, valid = _streams(data)
    size = data.facts["tokens"]
    counts = torch.bincount(train, minlength=size).double() + 1
    return _bits(data, -(counts / counts.sum()).log()[valid[1:]])


def bigram(data: Data) -> Figures:
    """Each token by how often it follows the one before it, mixed with the unigram.

    The share of the mixture is the best of a few on the last tenth of the text to train on.
    """
    train, valid = _streams(data)
    cut = len(train) * 9 // 10
    size = data.facts["tokens"]
    shares = (0.5, 0.8, 0.9, 0.95, 0.99)
    best = min(shares, key=lambda share: float(_pairs(train[:cut], train[cut:], size, share).mean()))
    return _bits(data, _pairs(train, valid, size, best))


def _pairs(train: Tensor, valid: Tensor, size: int, share: float) -> Tensor:
    """Nats of each token of `valid` but the first."""
    single = torch.bincount(train, minlength=size).double()
    first, times = torch.unique(train[:-1] * size + train[1:], return_counts=True)
    keys = valid[:-1] * size + valid[1:]
    at = torch.searchsorted(first, keys).clamp(max=len(first) - 1)
    pairs = torch.where(first[at] == keys, times[at], 0).double()
    uni = (single + 1) / (single + 1).sum()
    seen = torch.bincount(train[:-1], minlength=size).double()[valid[:-1]]
    follow = torch.where(seen > 0, pairs / seen.clamp(min=1), uni[valid[1:]])
    return -(share * follow + (1 - share) * uni[valid[1:]]).log()


def _bits(data: Data, nats: Tensor) -> Figures:
    mean = float(nats.mean())
    return {"loss": mean, "bits_per_character": mean / math.log(2) / data.characters_per_token}


def _streams(data: Data) -> tuple[Tensor, Tensor]:
    if not isinstance(data.train, Windows) or not isinstance(data.valid, Windows):
        raise fail("bad-value", "counts of tokens are a baseline for running text only", None)
    return data.train.stream, data.valid.stream


def majority(data: Data) -> Figures:
    """Always the label that is most frequent in training; of hidden tokens, the most frequent token."""
    if isinstance(data.train, Windows):
        commonest = int(torch.bincount(data.train.stream).argmax())
    else:
        commonest = int(torch.bincount(_column(data.train, "labels")).argmax())
    labels = _column(data.final, "labels").flatten()
    labels = labels[labels != IGNORED]
    return {"accuracy": float((labels == commonest).float().mean())}


def linear(data: Data) -> Figures:
    """A linear map of the pixels and a softmax, fitted by L-BFGS to the pictures to train on, undistorted."""
    pixels, labels = _column(data.train, "pixels").flatten(1), _column(data.train, "labels")
    weight = torch.zeros(pixels.shape[1] + 1, data.facts["classes"], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=100, line_search_fn="strong_wolfe")

    def logits(of: Tensor) -> Tensor:
        return F.linear(of, weight[1:].T, weight[0])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits(pixels), labels) + 1e-4 * weight[1:].square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        found, expected = logits(_column(data.final, "pixels").flatten(1)), _column(data.final, "labels")
        hits = float((found.argmax(1) == expected).float().mean())
        return {"loss": float(F.cross_entropy(found, expected)), "accuracy": hits}


def mean_picture(data: Data) -> Figures:
    """Every picture redrawn as the mean of those to train on; over all patches, hidden or not."""
    mean = _column(data.train, "pixels").mean(0)
    error = ((_column(data.final, "pixels") - mean) * data.pixel_std).square().mean()
    return {"psnr": decibels(float(error))}


def chance(data: Data) -> Figures:
    """A partner drawn from all that are held out, the commonest category in training."""
    ways = ("image_to_text", "text_to_image")
    found = {f"{way}_{best}": min(1.0, best / len(data.final)) for way in ways for best in (1, 5, 10)}
    if isinstance(data.train, Captioned) and isinstance(data.final, Captioned) and data.labels:
        commonest = Counter(data.train.categories).most_common(1)[0][0]
        found["zero_shot"] = data.final.categories.count(commonest) / len(data.final)
    return found


def threshold(data: Data) -> Figures:
    """Each voxel by its brightness alone: the class whose mean brightness in training is the nearest."""
    classes = data.facts["classes"]
    bright, labels = _column(data.train, "volume"), _column(data.train, "labels")
    means = torch.stack([bright[:, 0][labels == kind].mean() for kind in range(classes)])
    dice = Dice(data)
    for index in range(len(data.final)):
        example = data.final.example(index, None)
        found = (example["volume"][0][..., None] - means).abs().argmin(-1)
        dice.take(*dice.voxels(found, example["labels"]))
    return {"dice": dice.value()}


def _column(examples: Examples, name: str, limit: int = 60_000) -> Tensor:
    """An entry of every example as it is evaluated."""
    return torch.stack([examples.example(i, None)[name] for i in range(min(len(examples), limit))])


BASELINES: Final[Mapping[str, Callable[[Data], Figures]]] = MappingProxyType(
    {
        "unigram": unigram,
        "bigram": bigram,
        "majority": majority,
        "linear": linear,
        "mean_picture": mean_picture,
        "chance": chance,
        "threshold": threshold,
        "nearest": nearest,
    }
)
