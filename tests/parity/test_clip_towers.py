"""Each tower of CLIP alone, from its own folder and from the whole model's, against transformers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import CLIPModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

import runtime
from tests.parity import clip, hf, test_clip
from tests.parity.harness import Case, Tensors, check

ASKED = clip.questions(test_clip.IMAGE, test_clip.VOCAB, 7)
TEXT = {"hidden": "last_hidden_state", "text_features": "text_embeds"}
IMAGE = {"hidden": "last_hidden_state", "image_features": "image_embeds"}


def inputs(model: Any, kind: str) -> list[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """What the tower reads, and the mask beside it."""
    if kind == "image":
        return [(ASKED[0].pixels.to(next(model.parameters()).dtype), {})]
    return [(q.tokens, {} if q.mask is None else {"mask": q.mask}) for q in ASKED]


def ask_theirs(model: Any, kind: str) -> Tensors:
    answers: dict[str, torch.Tensor] = {}
    for number, (x, more) in enumerate(inputs(model, kind)):
        given = model(x, attention_mask=more["mask"].long()) if more else model(x)
        for ours, theirs in (TEXT if kind == "text" else IMAGE).items():
            answer = getattr(given, theirs)
            real = more.get("mask", torch.ones(answer.shape[:2], dtype=torch.bool))
            answers[f"{ours} {number}"] = answer[real] if answer.ndim > 2 else answer
    return answers


def ask_ours(model: Any, kind: str) -> Tensors:
    answers: dict[str, torch.Tensor] = {}
    for number, (x, more) in enumerate(inputs(model, kind)):
        given = model(x, **more)
        for ours in TEXT if kind == "text" else IMAGE:
            answer = getattr(given, ours)
            real = more.get("mask", torch.ones(answer.shape[:2], dtype=torch.bool))
            answers[f"{ours} {number}"] = answer[real] if answer.ndim > 2 else answer
    return answers


def case(kind: str) -> Case:
    model = CLIPTextModelWithProjection if kind == "text" else CLIPVisionModelWithProjection
    config = test_clip.small().text_config if kind == "text" else test_clip.small().vision_config
    config.projection_dim = 20
    return Case(
        make=hf.maker(model, config),
        save=hf.save,
        load=runtime.load,
        theirs=partial(ask_theirs, kind=kind),
        ours=partial(ask_ours, kind=kind),
        dialect="hf",
        reopen=hf.opener(model),
        same_file=True,
        lifted=hf.without_casts,
    )


@pytest.mark.parametrize("kind", ["text", "image"])
def test_alone(kind: str, tmp_path: Path) -> None:
    check(case(kind), tmp_path)


SIZES = {
    "text": {"vocab": 103, "context": 11, "t_dim": 32, "t_depth": 2, "t_heads": 2, "t_hidden": 56},
    "image": {"image": 24, "patch": 8, "v_dim": 24, "v_depth": 3, "v_heads": 3, "v_hidden": 40},
}


@pytest.mark.parametrize("kind", ["text", "image"])
def test_of_the_whole(kind: str, tmp_path: Path) -> None:
    """The other tower's tensors are left where they are."""

    def theirs(model: Any) -> Tensors:
        tower = model.text_model if kind == "text" else model.vision_model
        project = model.text_projection if kind == "text" else model.visual_projection

        def whole(x: torch.Tensor, **more: Any) -> Any:
            given = tower(x, **more)
            features, hidden = project(given.pooler_output), given.last_hidden_state
            return SimpleNamespace(last_hidden_state=hidden, text_embeds=features, image_embeds=features)

        whole.parameters = model.parameters  # type: ignore[attr-defined]
        return ask_theirs(whole, kind)

    load = partial(load_tower, f"clip_{kind}", {**SIZES[kind], "embed": 20})
    whole = replace(case(kind), make=hf.maker(CLIPModel, test_clip.small()), load=load, theirs=theirs)
    check(replace(whole, reopen=None), tmp_path)


def load_tower(spec: str, sizes: dict[str, int], folder: Path) -> Any:
    return runtime.load(spec, weights=folder, set=sizes)
