"""zero-shot: how well each of some texts fits an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from compiler.diagnostics.diagnostic import fail
from runtime.tasks.abilities import require
from runtime.tasks.opened import Opened
from runtime.tasks.texts import read_texts


@dataclass(frozen=True)
class Match:
    """A label, and the probability that it fits."""

    label: str
    probability: float


def zero_shot(
    opened: Opened, pixels: torch.Tensor, labels: Sequence[str], *, template: str = "{}"
) -> list[tuple[Match, ...]]:
    """For each image of float[N, 3, H, W] the labels, the likeliest first.

    template: a sentence in which {} stands for the label. The probabilities of an image add up to one, unless
    the spec says that each pair is judged by itself (`io: {pairs: independent}`). Raises CompileError for a
    model of another kind.
    """
    require(opened.signature, "zero-shot")
    if "{}" not in template:
        raise fail(
            "usage", f"the template {template!r} has no {{}}", None, help="write {} where the label goes"
        )
    texts = [template.replace("{}", label) for label in labels]
    inputs, _ = read_texts(opened, texts, cut_at=opened.signature.longest("tokens"))
    logits = opened.call({"pixels": pixels, **inputs})["logits_per_image"].cpu().float()
    independent = opened.signature.io.get("pairs") == "independent"
    return [_ranked(labels, row) for row in (logits.sigmoid() if independent else logits.softmax(-1))]


def _ranked(labels: Sequence[str], scores: torch.Tensor) -> tuple[Match, ...]:
    found, order = scores.sort(descending=True, stable=True)
    return tuple(Match(labels[i], p) for i, p in zip(order.tolist(), found.tolist(), strict=True))
