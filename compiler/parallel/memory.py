"""Bytes that training keeps on a rank: parameters, gradients and the optimizer's state, counted from shapes.

Of a weight that tensor parallelism splits a rank holds a part of one axis; of that part, and of whole
weights, FSDP leaves it a share of the rows. Where a number does not divide, the first ranks hold more: it is
their bytes that are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from compiler.ir.parameters import Parameter
from compiler.parallel.placement import Placement, matches
from compiler.parallel.styles import split_axis
from compiler.weights.dtypes import ITEMSIZE


@dataclass(frozen=True)
class Mesh:
    """Ranks: `data` of them share the examples and the state, `tensor` of them each layer."""

    data: int
    tensor: int

    @property
    def world(self) -> int:
        """All ranks."""
        return self.data * self.tensor


@dataclass(frozen=True)
class Bytes:
    """What a rank keeps between steps."""

    parameters: int = 0
    gradients: int = 0
    optimizer: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.gradients + self.optimizer

    def __add__(self, other: Bytes) -> Bytes:
        return Bytes(
            self.parameters + other.parameters,
            self.gradients + other.gradients,
            self.optimizer + other.optimizer,
        )


@dataclass(frozen=True)
class Training:
    """Which parameters are trained, and how many numbers the optimizer keeps for each of theirs."""

    trained: Callable[[str], bool]
    moments: int


@dataclass(frozen=True)
class Load:
    """A rank's bytes: of weights that are split over the tensor ranks, and of whole ones.

    unit: the parameters of the largest FSDP unit, which lie gathered while it runs; rest: of those in none.
    """

    split: Bytes
    whole: Bytes
    unit: int
    rest: int

    @property
    def total(self) -> Bytes:
        """Both."""
        return self.split + self.whole


def load(
    parameters: Sequence[Parameter],
    placement: Placement,
    mesh: Mesh,
    training: Training,
    dtype: str = "float32",
) -> Load:
    """The bytes of the fullest rank. dtype: of what follows the module's dtype."""
    split, whole = Bytes(), Bytes()
    units: dict[str, int] = {}
    for parameter in parameters:
        module, _, weight = parameter.name.rpartition(".")
        size = ITEMSIZE[dtype if parameter.dtype == "float" else parameter.dtype]
        axis = split_axis(placement.style(module), weight, len(parameter.shape))
        part = tuple(_share(n, mesh.tensor) if k == axis else n for k, n in enumerate(parameter.shape))
        kept = size * prod(_share(n, mesh.data) if k == 0 else n for k, n in enumerate(part))
        trained = kept if training.trained(parameter.name) else 0
        found = Bytes(kept, trained, trained * training.moments)
        split, whole = (split, whole + found) if axis is None else (split + found, whole)
        unit = _unit(parameter.name, placement.units)
        units[unit] = units.get(unit, 0) + size * prod(part)
    rest = units.pop("", 0)
    return Load(split, whole, max(units.values(), default=0), rest)


def _share(count: int, ranks: int) -> int:
    """What the first rank holds, as torch.chunk cuts."""
    return -(-count // ranks)


def _unit(name: str, units: Sequence[str]) -> str:
    """The block that a parameter stands in, "" for none."""
    parts = name.split(".")
    for pattern in units:
        head = ".".join(parts[: pattern.count(".") + 1])
        if matches(pattern, head):
            return head
    return ""
