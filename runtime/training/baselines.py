"""What a model has to beat: figures from simple rules on the very same split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch

from compiler.diagnostics.diagnostic import fail
from runtime.training.data.common import Data
from runtime.training.data.text import Windows

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


def _pairs(train: torch.Tensor, valid: torch.Tensor, size: int, share: float) -> torch.Tensor:
    """Nats of each token of `valid` but the first."""
    single = torch.bincount(train, minlength=size).double()
    first, times = torch.unique(train[:-1] * size + train[1:], return_counts=True)
    keys = valid[:-1] * size + valid[1:]
    at = torch.searchsorted(first, keys).clamp(max=len(first) - 1)
    pairs = torch.where(first[at] == keys, times[at], 0).double()
    uni = (single + 1) / (single + 1).sum()
    seen = single[valid[:-1]]
    follow = torch.where(seen > 0, pairs / seen.clamp(min=1), uni[valid[1:]])
    return -(share * follow + (1 - share) * uni[valid[1:]]).log()


def _bits(data: Data, nats: torch.Tensor) -> Figures:
    mean = float(nats.mean())
    return {"loss": mean, "bits_per_character": mean / math.log(2) / data.characters_per_token}


def _streams(data: Data) -> tuple[torch.Tensor, torch.Tensor]:
    if not isinstance(data.train, Windows) or not isinstance(data.valid, Windows):
        raise fail("bad-value", "counts of tokens are a baseline for running text only", None)
    return data.train.stream, data.valid.stream


BASELINES: Final[Mapping[str, Callable[[Data], Figures]]] = MappingProxyType(
    {"unigram": unigram, "bigram": bigram}
)
