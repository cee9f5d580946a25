"""Pictures and labels in the IDX form of MNIST and its kin, gzipped or not."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Annotated, Final

import torch
from pydantic import Field
from torch import Tensor

from runtime.training.data.common import Data, Example, FileSection, shuffled
from runtime.training.fields import Count, Flag, MaybeWord, Number, Word

_BYTES: Final = 8  # the code of unsigned bytes


class IdxSection(FileSection):
    """images, labels: files below `path`. test_images, test_labels: those that are measured in the end.

    mean, std: of the pixels, in [0, 1]. shift: pixels by which a picture is moved at most; flip: whether it
    is mirrored half of the time.
    """

    images: Word
    labels: Word
    test_images: MaybeWord = None
    test_labels: MaybeWord = None
    mean: Number = 0.5
    std: Annotated[Number, Field(gt=0)] = 0.5
    shift: Count = 0
    flip: Flag = False

    def read(self, tokenizer: object) -> Data:
        """Part of the pictures is held out, drawn at random; the test files are kept apart."""
        folder = self.found()
        pixels, labels = self._pair(folder, self.images, self.labels)
        order = shuffled(len(labels))
        held = round(len(order) * self.held_out)
        chosen = order[held:][: self.limit]
        train = Pictures(self, pixels[chosen], labels[chosen])
        valid = Pictures(self, pixels[order[:held]], labels[order[:held]])
        test = None
        if self.test_images is not None and self.test_labels is not None:
            test = Pictures(self, *self._pair(folder, self.test_images, self.test_labels))
        classes = int(labels.max()) + 1
        facts = {"classes": classes, "image": pixels.shape[-1], "channels": 1}
        names = tuple(map(str, range(classes)))
        return Data(train, valid, test, facts=facts, labels=names, pixel_mean=self.mean, pixel_std=self.std)

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

    def __init__(self, section: IdxSection, pixels: Tensor, labels: Tensor) -> None:
        self.section, self.pixels, self.labels = section, pixels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """pixels float[C, H, W] and its label, int[]."""
        section = self.section
        pixels = (self.pixels[index].float() / 255 - section.mean) / section.std
        if rng is not None:
            pixels = moved(pixels, section.shift, section.flip, rng)
        return {"pixels": pixels, "labels": self.labels[index]}


def moved(pixels: Tensor, shift: int, flip: bool, rng: torch.Generator) -> Tensor:
    """A picture moved by up to `shift` pixels, its edges repeated, and perhaps mirrored."""
    if shift:
        height, width = pixels.shape[-2:]
        padded = torch.nn.functional.pad(pixels[None], [shift] * 4, mode="replicate")[0]
        y, x = torch.randint(2 * shift + 1, (2,), generator=rng).tolist()
        pixels = padded[:, y : y + height, x : x + width]
    if flip and bool(torch.rand(1, generator=rng) < 0.5):
        pixels = pixels.flip(-1)
    return pixels
