"""Scores as the call and the model's `io` bend them, whatever chooses among them afterwards."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.ir.values import Value
from runtime.generation.filters import (
    allow_only,
    forbid,
    forbid_repeats,
    forbid_word,
    penalise,
)
from runtime.generation.interface import Interface
from runtime.generation.options import Endings, Options
from runtime.generation.sampling import Rule


def rules(
    options: Options, endings: Endings, interface: Interface, text: Tensor, start: int, mask: Tensor | None
) -> list[Rule]:
    """In the order in which transformers applies them.

    text: int[B, total], as long as a sequence may become; start: where the prompt ends; mask: of the prompt.
    """
    io, total, device = interface.io, text.shape[1], text.device
    known = interface.vocab

    def without(lengths: range, value: Value) -> list[Rule]:
        """Tokens that the vocabulary does not have need no rule."""
        ids = [token for token in value or () if known is None or token < known]
        return [_Forbid(lengths, torch.tensor(ids, device=device))] if ids and lengths else []

    found: list[Rule] = []
    if options.repetition_penalty != 1:
        found.append(_Penalty(options.repetition_penalty, mask))
    if io.get("no_repeat_ngram"):
        found.append(partial(forbid_repeats, size=io["no_repeat_ngram"]))
    for word in io.get("bad_words") or ():
        possible = known is None or max(word) < known
        if possible and not (len(word) == 1 and word[0] in endings.eos):
            found.append(partial(forbid_word, word=torch.tensor(word, device=device)))
    found += without(range(io.get("min_length") or 0), endings.eos)
    if io.get("forced_start") is not None:
        found.append(_Force(1, _forced("forced_start", interface, device)))
    if io.get("forced_eos") is not None and endings.eos:
        found.append(_Force(total - 1, _forced("forced_eos", interface, device)))
    found += without(range(total), io.get("suppress"))
    begin = start + 1 if start == 1 and io.get("forced_start") is not None else start
    found += without(range(begin, begin + 1), io.get("begin_suppress"))
    return found


def _forced(key: str, interface: Interface, device: torch.device) -> Tensor:
    value = interface.io[key]
    ids = value if isinstance(value, tuple) else (value,)
    if interface.vocab is not None and max(ids) >= interface.vocab:
        raise fail(
            "usage",
            f"`io.{key}` of the spec {interface.spec} is {max(ids)}, "
            f"its vocabulary goes from 0 to {interface.vocab - 1}",
            None,
            help=f"set `io.{key}` to a token of it, or to null",
        )
    return torch.tensor(ids, device=device)


class _Penalty:
    """Repetition counts real tokens: padding is read as the last token of the prompt, which is one."""

    def __init__(self, penalty: float, mask: Tensor | None) -> None:
        self.penalty = penalty
        self.mask = mask

    def __call__(self, logits: Tensor, ids: Tensor) -> Tensor:
        if self.mask is not None:
            length = self.mask.shape[1]
            prompt = torch.where(self.mask, ids[:, :length], ids[:, length - 1 : length])
            ids = torch.cat((prompt, ids[:, length:]), 1)
        return penalise(logits, ids, self.penalty)


class _Forbid:
    """Tokens forbidden where a sequence has one of these lengths."""

    def __init__(self, lengths: range, tokens: Tensor) -> None:
        self.lengths = lengths
        self.tokens = tokens

    def __call__(self, logits: Tensor, ids: Tensor) -> Tensor:
        return forbid(logits, self.tokens) if ids.shape[1] in self.lengths else logits


class _Force:
    """One of these tokens and no other, where a sequence has this length."""

    def __init__(self, length: int, tokens: Tensor) -> None:
        self.length = length
        self.tokens = tokens

    def __call__(self, logits: Tensor, ids: Tensor) -> Tensor:
        return allow_only(logits, self.tokens) if ids.shape[1] == self.length else logits
