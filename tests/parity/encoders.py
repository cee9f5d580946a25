"""BERT with its pooler or its head, asked with and without padding and segments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import runtime
from tests.parity import hf
from tests.parity.decoders import padded
from tests.parity.harness import Case, Tensors


@dataclass(frozen=True)
class Question:
    """Tokens, which of them are real, and which sentence each belongs to."""

    name: str
    tokens: torch.Tensor
    mask: torch.Tensor | None
    segments: torch.Tensor | None


def questions(vocab: int, length: int, types: int) -> tuple[Question, ...]:
    """types: how many kinds of segment there are; 0 where the model knows none."""
    draw = torch.Generator().manual_seed(5)
    tokens = torch.randint(0, vocab, (3, length), generator=draw)
    segments = torch.randint(0, types, (3, length), generator=draw) if types else None
    left, right = padded(3, length, "left"), padded(3, length, "right")
    asked = (
        Question("plain", tokens, None, None),
        Question("segments", tokens, None, segments),
        Question("left", tokens, left, segments),
        Question("right", tokens, right, segments),
    )
    return asked if types else tuple(q for q in asked if q.name != "segments")


def ask_theirs(model: nn.Module, asked: tuple[Question, ...], names: dict[str, str]) -> Tensors:
    """Each output under our name."""
    answers: dict[str, torch.Tensor] = {}
    for q in asked:
        mask = None if q.mask is None else q.mask.long()
        more = {} if q.segments is None else {"token_type_ids": q.segments}
        given = model(input_ids=q.tokens, attention_mask=mask, **more)
        for name, theirs in names.items():
            answers[f"{q.name} {name}"] = at_real_positions(getattr(given, theirs), q)
    return answers


def ask_ours(model: nn.Module, asked: tuple[Question, ...], names: dict[str, str]) -> Tensors:
    answers: dict[str, torch.Tensor] = {}
    for q in asked:
        more = {} if q.segments is None else {"segments": q.segments}
        given = model(q.tokens, mask=q.mask, **more)
        for name in names:
            answer = given if isinstance(given, torch.Tensor) else getattr(given, name)
            answers[f"{q.name} {name}"] = at_real_positions(answer, q)
    return answers


def at_real_positions(answer: torch.Tensor, question: Question) -> torch.Tensor:
    """Answers per token without the padding; those per text are made of the first token and go with it."""
    if question.mask is None:
        return answer
    return answer[question.mask] if answer.ndim > 2 else answer[question.mask[:, 0]]


#: Our outputs and where transformers has them.
TRUNK = {"hidden": "last_hidden_state", "pooled": "pooler_output"}
HEAD = {"logits": "logits"}
BOTH_HEADS = {"logits": "prediction_logits"}


def case(
    kind: Any,
    config: Any,
    length: int,
    names: dict[str, str],
    *,
    load: Callable[[Path], nn.Module] = runtime.load,
    attention: str = "sdpa",
) -> Case:
    """An encoder of the transformers library, saved as its folder."""
    asked = questions(config.vocab_size, length, getattr(config, "type_vocab_size", 0))
    return Case(
        make=hf.maker(kind, config, attention),
        save=hf.save,
        load=load,
        theirs=lambda model: ask_theirs(model, asked, names),
        ours=lambda model: ask_ours(model, asked, names),
        dialect="hf",
        reopen=hf.opener(kind, attention),
        same_file=True,
        lifted=hf.without_casts,
    )
