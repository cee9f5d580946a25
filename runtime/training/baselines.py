"""What a model has to beat: figures from simple rules, learned and measured on the very same split.

Each is measured on the examples of `data.final` that `held` numbers: those that the model is measured on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.training.data.captions import Captioned
from runtime.training.data.common import IGNORED, Data, Example, Examples
from runtime.training.data.text import Windows
from runtime.training.given import Entry, Given, is_whole
from runtime.training.metrics import Dice, Figures, decibels
from runtime.training.translations import nearest, why_not_translated

Baseline = Callable[[Data, range], Figures]
FITTED: Final = 60_000  # pictures that a linear map is fitted to, at most: they are in memory together
_BLOCK: Final = 1000  # examples that are looked at together


def unigram(data: Data, held: range) -> Figures:
    """Each token by how often it occurs in the text to train on, every count raised by one."""
    train, _, tokens = _text(data, held)
    size = data.facts["tokens"]
    counts = torch.bincount(train, minlength=size).double() + 1
    return _bits(data, -(counts / counts.sum()).log()[tokens])


def bigram(data: Data, held: range) -> Figures:
    """Each token by how often it follows the one before it, mixed with the unigram.

    The share of the mixture is the best of a few on the last tenth of the text to train on.
    """
    train, before, tokens = _text(data, held)
    cut = len(train) * 9 // 10
    rest = train[cut:]
    size = data.facts["tokens"]
    shares = (0.5, 0.8, 0.9, 0.95, 0.99)
    best = min(shares, key=lambda share: float(_pairs(train[:cut], rest[:-1], rest[1:], size, share).mean()))
    return _bits(data, _pairs(train, before, tokens, size, best))


def _pairs(train: Tensor, before: Tensor, tokens: Tensor, size: int, share: float) -> Tensor:
    """Nats of each token behind the one before it."""
    single = torch.bincount(train, minlength=size).double()
    first, times = torch.unique(train[:-1] * size + train[1:], return_counts=True)
    keys = before * size + tokens
    at = torch.searchsorted(first, keys).clamp(max=len(first) - 1)
    pairs = torch.where(first[at] == keys, times[at], 0).double()
    uni = (single + 1) / (single + 1).sum()
    seen = torch.bincount(train[:-1], minlength=size).double()[before]
    follow = torch.where(seen > 0, pairs / seen.clamp(min=1), uni[tokens])
    return -(share * follow + (1 - share) * uni[tokens]).log()


def _bits(data: Data, nats: Tensor) -> Figures:
    mean = float(nats.mean())
    known = data.characters_per_token
    bits = {} if known is None else {"bits_per_character": mean / math.log(2) / known}
    return {"loss": mean, **bits}


def _text(data: Data, held: range) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens to train on; and those that the model is measured on, all but the first of each window,
    behind the tokens before them.
    """
    train, final = data.train, data.final
    assert isinstance(train, Windows) and isinstance(final, Windows)
    windows = torch.stack([final.example(index, None)["tokens"] for index in held])
    return train.stream, windows[:, :-1].flatten(), windows[:, 1:].flatten()


def majority(data: Data, held: range) -> Figures:
    """Always the label that is most frequent in training; of hidden tokens, the most frequent token."""
    if isinstance(data.train, Windows):
        counts = torch.bincount(data.train.stream)
    else:
        counts = _counts(data, data.train, range(len(data.train)))
    found = _counts(data, data.final, held)
    commonest = int(counts.argmax())
    hits = int(found[commonest]) if commonest < len(found) else 0
    return {"accuracy": hits / max(1, int(found.sum()))}


def _counts(data: Data, examples: Examples, numbers: range) -> Tensor:
    """How often each label counts, int[highest label + 1]."""
    labels = torch.cat([examples.example(i, None)["labels"].flatten()[data.ahead :] for i in numbers])
    return torch.bincount(labels[labels != IGNORED], minlength=1)


def linear(data: Data, held: range) -> Figures:
    """A linear map of the pixels and a softmax, fitted by L-BFGS to the pictures to train on (60,000 of them
    where there are more), undistorted.
    """
    fitted = list(_blocks(data.train, range(min(len(data.train), FITTED))))
    pixels = torch.cat([block["pixels"].flatten(1) for block in fitted])
    labels = torch.cat([block["labels"] for block in fitted])
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
    loss = hits = 0.0
    with torch.no_grad():
        for block in _blocks(data.final, held):
            found = logits(block["pixels"].flatten(1))
            loss += float(F.cross_entropy(found, block["labels"], reduction="sum"))
            hits += int((found.argmax(1) == block["labels"]).sum())
    return {"loss": loss / len(held), "accuracy": hits / len(held)}


def mean_picture(data: Data, held: range) -> Figures:
    """Every picture redrawn as the mean of those to train on; over all patches, hidden or not."""
    mean = torch.zeros((), dtype=torch.float64)
    for block in _blocks(data.train, range(len(data.train))):
        mean = mean + block["pixels"].double().sum(0) / len(data.train)
    error = 0.0
    for block in _blocks(data.final, held):
        error += float(((block["pixels"] - mean) * data.pixel_std).square().flatten(1).mean(1).sum())
    return {"psnr": decibels(error / len(held))}


def chance(data: Data, held: range) -> Figures:
    """A partner drawn from all that are held out, the commonest category in training."""
    ways = ("image_to_text", "text_to_image")
    found = {f"{way}_{best}": min(1.0, best / len(held)) for way in ways for best in (1, 5, 10)}
    if isinstance(data.train, Captioned) and isinstance(data.final, Captioned) and data.labels:
        commonest = Counter(data.train.categories).most_common(1)[0][0]
        found["zero_shot"] = data.final.categories.count(commonest) / len(data.final)
    return found


def threshold(data: Data, held: range) -> Figures:
    """Each voxel by its brightness alone: the class whose mean brightness in training is the nearest."""
    classes = data.facts["classes"]
    bright, count = torch.zeros(classes, dtype=torch.float64), torch.zeros(classes)
    for index in range(len(data.train)):
        example = data.train.example(index, None)
        counts = example["labels"] != IGNORED
        labels = example["labels"][counts]
        bright += torch.bincount(labels, example["volume"][0][counts].double(), classes)
        count += torch.bincount(labels, minlength=classes)
    means = torch.where(count > 0, bright / count, math.inf)
    dice = Dice(data)
    for index in held:
        example = data.final.example(index, None)
        found = (example["volume"][0][..., None] - means).abs().argmin(-1)
        dice.take(*dice.voxels(found, example["labels"]))
    return {"dice": dice.value()}


def _blocks(examples: Examples, numbers: range) -> Iterator[Example]:
    """Examples as they are evaluated, some at a time: pixels and labels, where there are any."""
    for start in range(0, len(numbers), _BLOCK):
        rows = [examples.example(index, None) for index in numbers[start : start + _BLOCK]]
        yield {
            name: torch.stack([row[name] for row in rows]) for name in ("pixels", "labels") if name in rows[0]
        }


def _counts_tokens(given: Given) -> str:
    held = given.data.final
    text = isinstance(given.data.train, Windows) and isinstance(held, Windows) and held.mask is None
    return "" if text else "needs running text that is not masked"


def _counts_labels(given: Given) -> str:
    return "" if is_whole(given.example.get("labels")) else "needs labels that are whole numbers"


def _sorts_pictures(given: Given) -> str:
    example, facts = given.example, given.data.facts
    labels = example.get("labels")
    one = labels is not None and is_whole(labels) and not labels.dim()
    return "" if one and "pixels" in example and "classes" in facts else "needs `pixels` with one class each"


def _has_pictures(given: Given) -> str:
    return "" if "pixels" in given.example else "needs `pixels`"


def _pairs_pictures(given: Given) -> str:
    return "" if {"pixels", "tokens"} <= given.example.keys() else "needs pictures with texts"


def _has_volumes(given: Given) -> str:
    example = given.example
    labelled = is_whole(example.get("labels")) and "classes" in given.data.facts
    return "" if labelled and "volume" in example else "needs a `volume` with a class for each voxel"


BASELINES: Final[Mapping[str, Entry[Baseline]]] = MappingProxyType(
    {
        "unigram": Entry(unigram, _counts_tokens),
        "bigram": Entry(bigram, _counts_tokens),
        "majority": Entry(majority, _counts_labels),
        "linear": Entry(linear, _sorts_pictures),
        "mean_picture": Entry(mean_picture, _has_pictures),
        "chance": Entry(chance, _pairs_pictures),
        "threshold": Entry(threshold, _has_volumes),
        "nearest": Entry(nearest, why_not_translated),
    }
)
