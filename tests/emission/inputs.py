"""What models read that are no language models of one text: vectors, images, volumes, pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Drawn:
    """Draws the inputs for a batch and a length; `mask` is the name of a mask, and of what it masks."""

    draw: Callable[[Generator, int, int], Tensors]
    mask: tuple[str, str] | None = None

    def inputs(self, generator: Generator, batch: int, length: int, *, masked: bool) -> Tensors:
        """The inputs by name; with a mask, one row is padded on the left and one on the right."""
        every = self.draw(generator, batch, length)
        if masked and self.mask is not None:
            name, like = self.mask
            every[name] = torch.ones(every[like].shape[:2], dtype=torch.bool)
            every[name][0, :2] = False
            every[name][-1, -3:] = False
        return every


def _vectors(generator: Generator, batch: int, length: int) -> Tensors:
    return {"x": torch.randn(batch, length, 24, generator=generator)}


def _two_sequences(generator: Generator, batch: int, length: int) -> Tensors:
    memory = torch.randn(batch, length + 8, 20, generator=generator)
    return {**_vectors(generator, batch, length), "memory": memory}


def _image(generator: Generator, batch: int, length: int) -> Tensors:
    return {"pixels": torch.randn(batch, 3, 12, 12, generator=generator)}


def _labelled_image(generator: Generator, batch: int, length: int) -> Tensors:
    pixels = torch.randn(batch, 3, 64, 64, generator=generator)
    return {"pixels": pixels, "labels": torch.randint(0, 7, (batch,), generator=generator)}


def _images_and_texts(generator: Generator, batch: int, length: int) -> Tensors:
    pixels = torch.randn(batch + 4, 3, 64, 64, generator=generator)
    labels = torch.randint(0, batch, (batch + 4,), generator=generator)
    tokens, segments = (torch.randint(0, n, (batch, length), generator=generator) for n in (61, 2))
    return {"pixels": pixels, "tokens": tokens, "segments": segments, "labels": labels}


def _volume(generator: Generator, batch: int, length: int) -> Tensors:
    volume = torch.randn(batch, 2, 32, 32, 32, generator=generator)
    return {"volume": volume, "labels": torch.randint(0, 5, (batch, 32, 32, 32), generator=generator)}


def _hidden_tokens(generator: Generator, batch: int, length: int) -> Tensors:
    tokens, labels = (torch.randint(0, 61, (batch, length), generator=generator) for _ in range(2))
    return {"tokens": tokens, "labels": labels}


DRAWN: Mapping[str, Drawn] = {
    "starter_attention": Drawn(_vectors, ("mask", "x")),
    "starter_grouped_query": Drawn(_vectors, ("mask", "x")),
    "starter_rotary": Drawn(_vectors, ("mask", "x")),
    "starter_einsum_attention": Drawn(_vectors),
    "starter_cross_attention": Drawn(_two_sequences, ("memory_mask", "memory")),
    "starter_patchify": Drawn(_image),
    "convnext": Drawn(_labelled_image),
    "liteclip": Drawn(_images_and_texts, ("mask", "tokens")),
    "unetr": Drawn(_volume),
    "mlm": Drawn(_hidden_tokens, ("mask", "tokens")),
}
