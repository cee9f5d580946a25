"""One forward pass, float32, beside the fastest of the libraries that have the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers

import runtime
from bench.table import AT_MOST, Row
from bench.timing import interleaved, ratio, told

Calls = Mapping[str, Callable[[], Any]]


def rows(quick: bool) -> list[Row]:
    """A decoder, an encoder, a picture model and a pair."""
    found: list[Row] = []
    for title, make in (
        ("GPT-2, 1 x 512", _gpt2),
        ("BERT-base, 4 x 128", _bert),
        ("ViT-B/16, 4 pictures", _vit),
        ("CLIP ViT-B/32, 4 pictures and texts", _clip),
    ):
        with torch.inference_mode():
            times = interleaved(make(), 5 if quick else 15)
        peers = [way for way in times if way != "ours"]
        best = max(peers, key=lambda way: ratio(times, "ours", way))
        found.append(
            Row(
                f"forward {title}",
                best,
                ratio(times, "ours", best),
                AT_MOST,
                1.03,
                told=told(times, tuple(times)),
            )
        )
    return found


def _tokens(batch: int, length: int) -> torch.Tensor:
    return torch.randint(1, 30000, (batch, length))


def _gpt2() -> Calls:
    tokens = _tokens(1, 512)
    model, peer = (
        runtime.load("gpt2", weights=None),
        transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval(),
    )
    return {"ours": lambda: model(tokens), "transformers": lambda: peer(tokens, use_cache=False)}


def _bert() -> Calls:
    """Without padding and without a mask: transformers leaves a mask of ones out, too."""
    tokens = _tokens(4, 128)
    model = runtime.load("bert", weights=None)
    peer = transformers.BertModel(transformers.BertConfig()).eval()
    return {"ours": lambda: model(tokens), "transformers": lambda: peer(tokens)}


def _vit() -> Calls:
    import timm

    pixels = torch.randn(4, 3, 224, 224)
    model: Any = runtime.load("vit", weights=None)
    classes = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000)).eval()
    other = timm.create_model("vit_base_patch16_224").eval()
    return {
        "ours": lambda: model(pixels),
        "transformers": lambda: classes(pixels),
        "timm": lambda: other(pixels),
    }


def _clip() -> Calls:
    import open_clip

    pixels, tokens = torch.randn(4, 3, 224, 224), _tokens(4, 77)
    model: Any = runtime.load("clip_vitb32", weights=None)
    peer: Any = transformers.CLIPModel(transformers.CLIPConfig()).eval()
    other: Any = open_clip.create_model("ViT-B-32-quickgelu").eval()
    return {
        "ours": lambda: model(pixels, tokens),
        "transformers": lambda: peer(input_ids=tokens, pixel_values=pixels),
        "open_clip": lambda: other(pixels, tokens),
    }
