"""CLIP, asked for every output and both methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tests.parity.harness import Tensors


@dataclass(frozen=True)
class Question:
    """Images, texts that end at different places, and which tokens of the texts are real."""

    name: str
    pixels: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor | None


def questions(image: int, vocab: int, length: int, eot: int | None = None) -> tuple[Question, ...]:
    """Three images and two texts.

    eot: the id that ends a text, amid larger ones; None: the largest id ends it, and smaller ones follow.
    """
    draw = torch.Generator().manual_seed(5)
    pixels = torch.randn(3, 3, image, image, generator=draw)
    tokens = torch.randint(0, vocab - 1, (2, length), generator=draw)
    if eot is not None:
        tokens[tokens == eot] = eot - 1
        tokens[:, 1] = vocab - 1
    end = eot if eot is not None else vocab - 1
    tokens[0, length - 2] = tokens[1, length - 4] = tokens[1, length - 1] = end
    places = torch.arange(length)
    right, left = places < torch.tensor([[length - 1], [length - 3]]), places >= torch.tensor([[2], [1]])
    return (
        Question("plain", pixels, tokens, None),
        Question("right", pixels, tokens, right),
        Question("left", pixels, tokens, left),
    )


def ask_ours(model: Any, asked: tuple[Question, ...]) -> Tensors:
    """Every output and both methods, in the order of `named`."""
    answers: dict[str, torch.Tensor] = {}
    for q in asked:
        pixels = q.pixels.to(model.logit_scale.dtype)
        image, text = model.encode_image(pixels), model.encode_text(q.tokens, mask=q.mask)
        answers |= named(q, image, text, model(pixels, q.tokens, mask=q.mask))
    return answers


def ask_theirs(model: Any, asked: tuple[Question, ...]) -> Tensors:
    """transformers."""
    answers: dict[str, torch.Tensor] = {}
    for q in asked:
        pixels = q.pixels.to(model.dtype)
        mask = None if q.mask is None else q.mask.long()
        image = model.get_image_features(pixels).pooler_output
        text = model.get_text_features(q.tokens, attention_mask=mask).pooler_output
        both = model(input_ids=q.tokens, pixel_values=pixels, attention_mask=mask)
        outputs = (both.logits_per_image, both.logits_per_text, both.image_embeds, both.text_embeds)
        answers |= named(q, image, text, outputs)
    return answers


def ask_open_clip(model: Any, asked: tuple[Question, ...]) -> Tensors:
    answers: dict[str, torch.Tensor] = {}
    for q in asked:
        pixels = q.pixels.to(model.visual.conv1.weight.dtype)
        image, text = model.encode_image(pixels), model.encode_text(q.tokens)
        embeds = model(pixels, q.tokens)[:2]
        answers |= named(q, image, text, (*model.get_logits(pixels, q.tokens), *embeds))
    return answers


def ask_openai(model: Any, asked: tuple[Question, ...]) -> Tensors:
    """OpenAI's code gives no embeddings; it divides the features by their norms, as here."""
    answers: dict[str, torch.Tensor] = {}
    for q in asked:
        pixels = q.pixels.to(model.dtype)
        image, text = model.encode_image(pixels), model.encode_text(q.tokens)
        embeds = (image / image.norm(dim=1, keepdim=True), text / text.norm(dim=1, keepdim=True))
        answers |= named(q, image, text, (*model(pixels, q.tokens), *embeds))
    return answers


def named(q: Question, image: torch.Tensor, text: torch.Tensor, outputs: tuple[torch.Tensor, ...]) -> Tensors:
    """Answers under our names."""
    names = ("logits_per_image", "logits_per_text", "image_embed", "text_embed")
    given = {"image_features": image, "text_features": text, **dict(zip(names, outputs, strict=True))}
    return {f"{q.name} {name}": tensor for name, tensor in given.items()}
