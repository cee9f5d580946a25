"""Pictures and labels in the IDX form of MNIST and its kin, gzipped or not."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from runtime.training.data.common import Data, Example, FileSection, Source, shuffled
from runtime.training.data.pixels import Look, PixelsSection
from runtime.training.fields import MaybeWord, Word

_BYTES: Final = 8  # the code of unsigned bytes


class IdxSection(PixelsSection, FileSection):
    """images, labels: files below `path`. test_images, test_labels: those that are measured in the end."""

    images: Word
    labels: Word
    test_images: MaybeWord = None
    test_labels: MaybeWord = None

    def read(self, tokenizer: object) -> Data:
        """Part of the pictures is held out, drawn at random; the test files are kept apart."""
        folder = self.found()
        pixels, labels = self._pair(folder, self.images, self.labels)
        order = shuffled(len(labels))
        held = round(len(order) * self.held_out)
        chosen = order[held:][: self.limit]
        train = Pictures(self.look, pixels[chosen], labels[chosen])
        valid = Pictures(self.look, pixels[order[:held]], labels[order[:held]])
        test = None
        if self.test_images is not None and self.test_labels is not None:
            test = Pictures(self.look, *self._pair(folder, self.test_images, self.test_labels))
        classes = int(labels.max()) + 1
        facts = {"classes": classes, "image": pixels.shape[-1], "channels": 1}
        names = tuple(map(str, range(classes)))
        return Data(train, valid, test, facts=facts, labels=names, pixel_mean=self.mean, pixel_std=self.std)

    def idle(self) -> Mapping[str, str]:
        """One of the test files without the other."""
        given = {"test_images": self.test_images, "test_labels": self.test_labels}
        lone = [name for name, value in given.items() if value is not None]
        return {lone[0]: "`test_images` and `test_labels` go together"} if len(lone) == 1 else {}

    def _pair(self, folder: Path, images: str, labels: str) -> tuple[Tensor, Tensor]:
        pixels, numbers = self._read(folder / images, 3), self._read(folder / labels, 1)
        if len(pixels) != len(numbers):
            raise self.unreadable(folder / labels, f"{len(numbers)} labels for {len(pixels)} pictures")
        return pixels[:, None], numbers.long()

    def _read(self, path: Path, dims: int) -> Tensor:
        """A tensor of unsigned bytes: a header of its sizes, then its numbers."""
        try:
            data = path.read_bytes()
            if path.suffix == ".gz":
                data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise self.unreadable(path, error) from None
        if len(data) < 4 + 4 * dims or data[2] != _BYTES or data[3] != dims:
            raise self.unreadable(path, f"it is no IDX file of bytes in {dims} dimensions")
        shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dims)]
        body = bytearray(data[4 + 4 * dims :])
        if len(body) != math.prod(shape):
            raise self.unreadable(path, f"{len(body)} bytes of numbers, its header says {math.prod(shape)}")
        return torch.frombuffer(body, dtype=torch.uint8).reshape(shape)


class Pictures:
    """Pictures in memory. pixels: uint8[N, C, H, W]; labels: int[N]."""

    def __init__(self, look: Look, pixels: Tensor, labels: Tensor) -> None:
        self.look, self.pixels, self.labels = look, pixels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """pixels float[C, H, W] and its label, int[]."""
        return {"pixels": self.look(self.pixels[index], rng), "labels": self.labels[index]}

    def sources(self) -> Iterator[Source]:
        """All pixels, all labels."""
        yield from (self.pixels, self.labels)
