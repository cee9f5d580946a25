"""Decoders, asked with and without padding, at once and from a cache, and for their loss."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import runtime
from tests.parity import hf
from tests.parity.harness import UNSEEN, Case, Tensors

NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class Question:
    """Tokens, which of them are real, and the lengths in which a cache is filled; one length: no cache.

    labels: tokens to predict, where the loss is asked for too; -100 where none is.
    """

    name: str
    tokens: torch.Tensor
    mask: torch.Tensor | None
    lengths: tuple[int, ...]
    labels: torch.Tensor | None = None

    def real(self) -> torch.Tensor:
        return torch.ones_like(self.tokens, dtype=torch.bool) if self.mask is None else self.mask

    def parts(self) -> Iterator[tuple[int, int]]:
        start = 0
        for length in self.lengths:
            yield start, start + length
            start += length


def padded(batch: int, length: int, side: str) -> torch.Tensor:
    """Rows with 0, 2, 4, ... tokens of padding on that side."""
    places = torch.arange(length).expand(batch, length)
    pads = 2 * torch.arange(batch)[:, None]
    return places >= pads if side == "left" else places < length - pads


def questions(vocab: int, length: int) -> tuple[Question, ...]:
    """Every shape of call that a text of that length can be read in."""
    tokens = torch.randint(0, vocab, (3, length), generator=torch.Generator().manual_seed(5))
    left, right = padded(3, length, "left"), padded(3, length, "right")
    labels = tokens.masked_fill(~(left & left.roll(1, 1)), -100)  # what padding predicts is nobody's business
    labels[1, length // 2] = -100
    steps = (length - 5, 1, 1, 3)
    return (
        Question("plain", tokens, None, (length,)),
        Question("left", tokens, left, (length,), labels),
        Question("right", tokens, right, (length,)),
        Question("cached", tokens, None, steps),
        Question("cached left", tokens, left, steps),
    )


def ask_theirs(model: nn.Module, asked: tuple[Question, ...]) -> Tensors:
    """Logits at real positions; the positions are those that ours derives from the mask."""
    answers = {}
    for question in asked:
        cache, logits = None, []
        places = (question.real().cumsum(1) - 1).clamp(min=0)
        for start, end in question.parts():
            given = model(
                input_ids=question.tokens[:, start:end],
                attention_mask=None if question.mask is None else question.mask[:, :end].long(),
                position_ids=places[:, start:end],
                past_key_values=cache,
                use_cache=len(question.lengths) > 1,
                labels=question.labels,
            )
            cache = given.past_key_values
            logits.append(given.logits)
        answers[question.name] = torch.cat(logits, 1)[question.real()]
        if question.labels is not None:
            answers[f"{question.name} loss"] = given.loss
    return answers


def ask_ours(model: Any, asked: tuple[Question, ...]) -> Tensors:
    """Logits at real positions, and the loss of what has labels.

    A cache is filled in place, which leaves nothing to differentiate.
    """
    answers = {}
    for question in asked:
        if len(question.lengths) > 1 and torch.is_grad_enabled():
            continue
        batch, length = question.tokens.shape
        cache = model.new_cache(batch, length) if len(question.lengths) > 1 else None
        logits = []
        for start, end in question.parts():
            mask = None if question.mask is None else question.mask[:, :end]
            given = model(question.tokens[:, start:end], mask=mask, labels=question.labels, cache=cache)
            logits.append(given if question.labels is None else given.logits)
        answers[question.name] = torch.cat(logits, 1)[question.real()]
        if question.labels is not None:
            answers[f"{question.name} loss"] = given.loss
    return answers


def case(kind: Any, config: Any, length: int, attention: str = "sdpa") -> Case:
    """A decoder of the transformers library, saved as its folder and recognised by it."""
    asked = questions(config.vocab_size, length)

    def load(folder: Path) -> nn.Module:
        return runtime.load(folder)

    return Case(
        make=hf.maker(kind, config, attention),
        save=hf.save,
        load=load,
        theirs=lambda model: ask_theirs(model, asked),
        ours=lambda model: ask_ours(model, asked),
        dialect="hf",
        reopen=hf.opener(kind, attention),
        same_file=True,
        lifted=hf.without_casts,
        unseen=NOTHING if hasattr(config, "rope_parameters") else UNSEEN,  # a turned bias differs by place
    )
