"""embed: a vector for each text or picture, and which of them are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.nn.functional import normalize

from compiler.diagnostics.diagnostic import fail
from runtime.tasks.abilities import embeds_images, embeds_texts, require
from runtime.tasks.opened import Opened, batches
from runtime.tasks.texts import read_texts

POOLINGS: Final = ("mean", "first", "pooled")
#: Where sentence-transformers says how a model's vectors are made of its tokens' ones, and of how many.
POOLING_FILE, LENGTH_FILE = "1_Pooling/config.json", "sentence_bert_config.json"
_THEIRS: Final = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}


@dataclass(frozen=True)
class Embeddings:
    """vectors: float[N, D], each of length 1. cut: which texts were too long and lost their end."""

    vectors: torch.Tensor
    cut: tuple[int, ...] = ()


def embed_texts(
    opened: Opened, texts: Sequence[str], *, pooling: str | None = None, batch: int = 32
) -> Embeddings:
    """A vector for each text.

    pooling: "mean" of the real tokens' vectors, the "first" token's, or the model's own "pooled" output; left
    out, what a sentence-transformers folder says, else the mean. A model with `encode_text` has a vector of
    its own. batch: how many texts at a time. Raises CompileError for a model without vectors of texts.
    """
    require(opened.signature, "embed")
    if not embeds_texts(opened.signature):
        raise fail("wrong-model", f"{opened.signature}: it has no vectors of texts", None)
    if "encode_text" not in opened.signature.methods:
        pooling = pooling or _declared_pooling(opened)
        if pooling == "pooled" and "pooled" not in opened.signature.outputs:
            raise fail("usage", f"{opened.signature}: it has no `pooled`", None, help="pool by mean or first")
    longest = _longest(opened)
    vectors, cut = [], []
    for number, chunk in enumerate(batches(texts, batch)):
        inputs, encoded = read_texts(opened, chunk, cut_at=longest)
        vectors.append(normalize(_text_vectors(opened, inputs, encoded.mask, pooling).float(), dim=-1))
        cut += [number * batch + row for row in encoded.cut]
    return Embeddings(torch.cat(vectors).cpu(), tuple(cut))


def embed_images(opened: Opened, pixels: torch.Tensor) -> Embeddings:
    """A vector for each image of float[N, 3, H, W]: the model's own, else the mean over places."""
    require(opened.signature, "embed")
    if not embeds_images(opened.signature):
        raise fail("wrong-model", f"{opened.signature}: it has no vectors of images", None)
    found = _image_vectors(opened, pixels)
    return Embeddings(normalize(found.float(), dim=-1).cpu())


def similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The cosine of each vector of float[N, D] with each of float[M, D]: float[N, M]."""
    return normalize(a, dim=-1) @ normalize(b, dim=-1).T


def ranking(query: torch.Tensor, vectors: torch.Tensor) -> list[tuple[int, float]]:
    """The vectors of float[N, D] by their cosine with float[D], the nearest first: (row, cosine)."""
    scores, order = similarity(query[None], vectors)[0].sort(descending=True, stable=True)
    return list(zip(order.tolist(), scores.tolist(), strict=True))


def _text_vectors(
    opened: Opened, inputs: dict[str, torch.Tensor], mask: torch.Tensor, pooling: str | None
) -> torch.Tensor:
    if "encode_text" in opened.signature.methods:
        return opened.call(inputs, "encode_text")["text_features"]
    outputs = opened.call(inputs)
    if pooling == "pooled":
        return outputs["pooled"]
    if pooling == "first":
        return outputs["hidden"][:, 0]
    weight = mask.to(outputs["hidden"])[..., None]
    return (outputs["hidden"] * weight).sum(1) / weight.sum(1)


def _image_vectors(opened: Opened, pixels: torch.Tensor) -> torch.Tensor:
    methods, outputs = opened.signature.methods, opened.signature.outputs
    inputs = {"pixels": pixels}
    if "encode_image" in methods:
        found = opened.call(inputs, "encode_image")["image_features"]
        return found if found.dim() == 2 else found.flatten(2).mean(2)
    if "pooled" in methods.get("encode", {}):
        return opened.call(inputs, "encode")["pooled"]
    given = opened.call(inputs)
    return given["pooled"] if "pooled" in outputs else given["hidden"].mean(1)


def _declared_pooling(opened: Opened) -> str:
    """What the folder's own library pools by; the mean where nothing is said."""
    said: Any = opened.beside(POOLING_FILE)
    chosen = [key for key, value in said.items() if key.startswith("pooling_mode_") and value is True]
    if not chosen:
        return "mean"
    if len(chosen) > 1 or chosen[0] not in _THEIRS:
        names = ", ".join(chosen)
        raise fail(
            "usage", f"{POOLING_FILE} asks for {names}", None, help="choose a pooling: mean, first, pooled"
        )
    return _THEIRS[chosen[0]]


def _longest(opened: Opened) -> int | None:
    """The most tokens that are read of a text: the model's bound, or fewer where the folder says so."""
    limits = [opened.signature.longest("tokens"), opened.beside(LENGTH_FILE).get("max_seq_length")]
    return min((limit for limit in limits if isinstance(limit, int)), default=None)
