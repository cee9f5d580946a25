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
    found: list[Rule] = []
    io, total = interface.io, text.shape[1]

    def ids(value: Value) -> Tensor:
        return _ids(value, interface, text.device)

    if options.repetition_penalty != 1:
        found.append(_Penalty(options.repetition_penalty, mask))
    if io.get("no_repeat_ngram"):
        found.append(partial(forbid_repeats, size=io["no_repeat_ngram"]))
    words = [word for word in io.get("bad_words") or () if not (len(word) == 1 and word[0] in endings.eos)]
    found += [partial(forbid_word, word=ids(word)) for word in words]
    ends = tuple(end for end in endings.eos if interface.vocab is None or end < interface.vocab)
    if io.get("min_length") and ends:
        found.append(_At(range(io["min_length"]), ids(ends), only=False))
    if io.get("forced_start") is not None:
        found.append(_At(range(1, 2), ids(io["forced_start"]), only=True))
    if io.get("forced_eos") is not None and endings.eos:
        found.append(_At(range(total - 1, total), ids(io["forced_eos"]), only=True))
    if io.get("suppress"):
        found.append(_At(range(total), ids(io["suppress"]), only=False))
    if io.get("begin_suppress"):
        begin = start + 1 if start == 1 and io.get("forced_start") is not None else start
        found.append(_At(range(begin, begin + 1), ids(io["begin_suppress"]), only=False))
    return found


def _ids(value: Value, interface: Interface, device: torch.device) -> Tensor:
    ids = value if isinstance(value, tuple) else (value,)
    if interface.vocab is not None and max(ids) >= interface.vocab:
        raise fail(
            "usage",
            f"`io` of the spec {interface.spec} names the token {max(ids)}, "
            f"its vocabulary goes from 0 to {interface.vocab - 1}",
            None,
            help="set what does not fit to null: `io.forced_eos`, `io.suppress`, ...",
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


class _At:
    """Tokens forbidden, or the only ones allowed, where a sequence has one of these lengths."""

    def __init__(self, lengths: range, tokens: Tensor, only: bool) -> None:
        self.lengths = lengths
        self.tokens = tokens
        self.change = allow_only if only else forbid

    def __call__(self, logits: Tensor, ids: Tensor) -> Tensor:
        return self.change(logits, self.tokens) if ids.shape[1] in self.lengths else logits
