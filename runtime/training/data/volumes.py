"""Made-up volumes to segment: balls and boxes in noise, no two runs of a number alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import torch
from pydantic import Field
from torch import Tensor

from runtime.training.chance import generator
from runtime.training.data.common import Data, DataSection, Example, Source
from runtime.training.fields import Number, Positive

BALL, BOX = 1, 2
_BRIGHT: Final = {BALL: 1.0, BOX: 0.6}


class VolumesSection(DataSection):
    """size: of the cube in voxels; count: how many volumes, of which `held_out` are; noise: its std."""

    size: Positive = 32
    count: Positive
    noise: Annotated[Number, Field(ge=0)] = 0.5

    def read(self, tokenizer: object) -> Data:
        """Volumes by number: the first are held out."""
        count = min(self.count, self.limit or self.count)
        held = round(count * self.held_out)
        train, valid = Volumes(self, held, count - held), Volumes(self, 0, held)
        return Data(train, valid, facts={"image": self.size, "classes": 3, "channels": 1})


class Volumes:
    """A range of volumes, each made from its number."""

    def __init__(self, section: VolumesSection, first: int, count: int) -> None:
        self.section, self.first, self.count = section, first, count

    def __len__(self) -> int:
        return self.count

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """volume float[1, X, Y, Z] and labels int[X, Y, Z]: 0 nothing, 1 ball, 2 box.

        The noise differs each time a volume is drawn, the shapes do not.
        """
        own = generator(0, self.first + index)
        labels = _shapes(self.section.size, own)
        clean = torch.zeros(labels.shape)
        for kind, bright in _BRIGHT.items():
            clean[labels == kind] = bright
        noise = torch.randn(labels.shape, generator=rng or own) * self.section.noise
        return {"volume": (clean + noise)[None], "labels": labels}

    def sources(self) -> Iterator[Source]:
        """The numbers that they are made from, and how."""
        yield f"{self.first} {self.count} {self.section.size} {self.section.noise}"


def _shapes(size: int, rng: torch.Generator) -> Tensor:
    """One ball and one box; the box lies over the ball where they meet."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(size).float()] * 3, indexing="ij"))
    labels = torch.zeros(size, size, size, dtype=torch.long)
    place = torch.rand(2, 3, generator=rng) * size
    extent = (0.12 + 0.15 * torch.rand(4, generator=rng)) * size
    labels[(grid - place[0, :, None, None, None]).square().sum(0) < extent[0] ** 2] = BALL
    inside = (grid - place[1, :, None, None, None]).abs() < extent[1:, None, None, None]
    labels[inside.all(0)] = BOX
    return labels
