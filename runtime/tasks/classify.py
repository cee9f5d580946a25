"""classify: how likely each class is for a text, for each token of one, or for an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from compiler.diagnostics.diagnostic import fail
from runtime.tasks.abilities import require, tags_tokens
from runtime.tasks.opened import Opened
from runtime.tasks.texts import read_texts


@dataclass(frozen=True)
class Class:
    """A class and its score: a probability, or the bare number of a model that has a single one."""

    name: str
    index: int
    score: float


@dataclass(frozen=True)
class Tagged:
    """A token of a text with its likeliest class."""

    token: str
    tag: Class


def classify_texts(
    opened: Opened, texts: Sequence[str], *, pair: Sequence[str] | None = None, top: int = 5
) -> list[tuple[Class, ...]]:
    """The `top` classes of each text, the likeliest first. pair: a second text for each.

    Probabilities are exclusive, unless the config beside the weights says that several classes may hold.
    Raises CompileError for a model of another kind.
    """
    require(opened.signature, "classify")
    _check_input(opened, "tokens", "texts")
    inputs, _ = read_texts(opened, texts, pair=pair, cut_at=opened.signature.longest("tokens"))
    return _ranked(opened, opened.call(inputs)["logits"], top)


def classify_images(opened: Opened, pixels: torch.Tensor, *, top: int = 5) -> list[tuple[Class, ...]]:
    """The `top` classes of each image of float[N, 3, H, W], the likeliest first."""
    require(opened.signature, "classify")
    _check_input(opened, "pixels", "images")
    return _ranked(opened, opened.call({"pixels": pixels})["logits"], top)


def tag_texts(opened: Opened, texts: Sequence[str]) -> list[tuple[Tagged, ...]]:
    """The class of each token of each text, for a model that judges tokens."""
    require(opened.signature, "classify")
    if not tags_tokens(opened.signature):
        raise fail("wrong-model", f"{opened.signature}: it judges whole texts", None)
    inputs, encoded = read_texts(opened, texts, cut_at=opened.signature.longest("tokens"))
    scores = opened.call(inputs)["logits"].cpu().float().softmax(-1)
    names = _names(opened, opened.beside("config.json"))
    best, at = scores.max(-1)
    return [
        tuple(
            Tagged(opened.tokenizer.token(id) or f"<{id}>", Class(names.get(i, f"class {i}"), i, score))
            for id, i, score, real in zip(*columns, strict=True)
            if real
        )
        for columns in zip(
            encoded.tokens.tolist(), at.tolist(), best.tolist(), encoded.mask.tolist(), strict=True
        )
    ]


def _ranked(opened: Opened, logits: torch.Tensor, top: int) -> list[tuple[Class, ...]]:
    config = opened.beside("config.json")
    names = _names(opened, config)
    scores, order = _scores(logits.cpu().float(), config).topk(min(top, logits.shape[-1]))
    return [
        tuple(Class(names.get(i, f"class {i}"), i, score) for i, score in zip(*pair, strict=True))
        for pair in zip(order.tolist(), scores.tolist(), strict=True)
    ]


def _scores(logits: torch.Tensor, config: Mapping[str, Any]) -> torch.Tensor:
    if logits.shape[-1] == 1 or config.get("problem_type") == "regression":
        return logits
    several = config.get("problem_type") == "multi_label_classification"
    return logits.sigmoid() if several else logits.softmax(-1)


def _names(opened: Opened, config: Mapping[str, Any]) -> dict[int, str]:
    """The names of the classes, where the spec or the config gives any."""
    own = opened.signature.io.get("labels")
    if isinstance(own, tuple):
        return {i: str(name) for i, name in enumerate(own)}
    said = config.get("id2label")
    return {int(i): str(name) for i, name in said.items()} if isinstance(said, dict) else {}


def _check_input(opened: Opened, port: str, what: str) -> None:
    if port not in opened.signature.inputs:
        raise fail("wrong-model", f"{opened.signature}: it does not take {what}", None)
