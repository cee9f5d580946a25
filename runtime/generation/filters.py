"""Pure functions on scores [B, V] that change or remove some of them; what is removed becomes -inf."""

from __future__ import annotations

import torch
from torch import Tensor

_GONE = float("-inf")


def penalise(logits: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Tokens of ids int[B, L] made less likely: positive scores divided by `penalty`, others multiplied.

    Keskar et al. 2019, CTRL, section 4.1
    """
    scores = logits.gather(1, ids)
    return logits.scatter(1, ids, torch.where(scores < 0, scores * penalty, scores / penalty))


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """The k highest scores, and those equal to the lowest of them (Fan et al. 2018)."""
    least = logits.topk(min(k, logits.shape[-1]), -1).values[:, -1:]
    return logits.masked_fill(logits < least, _GONE)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """The fewest likeliest tokens whose probabilities reach p together (Holtzman et al. 2020)."""
    ascending, order = logits.sort(-1)
    gone = ascending.softmax(-1).cumsum(-1) <= 1 - p
    gone[:, -1] = False
    return logits.masked_fill(gone.scatter(1, order, gone), _GONE)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Tokens with at least p times the highest probability (Nguyen et al. 2024)."""
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), _GONE)


def forbid(logits: Tensor, tokens: Tensor) -> Tensor:
    """Without these tokens."""
    return logits.index_fill(1, tokens, _GONE)


def allow_only(logits: Tensor, tokens: Tensor) -> Tensor:
    """These tokens, all alike, and no other."""
    return torch.full_like(logits, _GONE).index_fill_(1, tokens, 0)


def forbid_word(logits: Tensor, ids: Tensor, word: Tensor) -> Tensor:
    """Without the last token of a word where the ones before it stand at the end of ids int[B, L]."""
    before = word.shape[0] - 1
    if before == 0:
        return forbid(logits, word)
    if before > ids.shape[1]:
        return logits
    begun = (ids[:, -before:] == word[:-1]).all(1, keepdim=True)
    last = logits[:, word[-1:]]
    return logits.index_copy(1, word[-1:], last.masked_fill(begun, _GONE))


def forbid_repeats(logits: Tensor, ids: Tensor, size: int) -> Tensor:
    """Without tokens that would complete a run of `size` tokens that ids int[B, L] holds already.

    Paulus et al. 2017, section 2.5
    """
    if ids.shape[1] < size:
        return logits
    end = ids[:, ids.shape[1] - size + 1 :]
    runs = ids.unfold(1, size, 1)
    begun = (runs[..., :-1] == end[:, None]).all(-1)
    gone = torch.zeros_like(logits, dtype=torch.bool)
    gone.scatter_reduce_(1, runs[..., -1], begun, "amax")
    return logits.masked_fill(gone, _GONE)
