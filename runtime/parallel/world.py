"""The processes that train one model: this one alone, unless torchrun started more.

`World` is the one process. What more of them change is what `runtime.parallel.torchrun` overrides, and
nothing else: whoever trains asks the world, and does not know how large it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from compiler.diagnostics.diagnostic import fail
from compiler.parallel.placement import Placement
from compiler.source.text import Span

T = TypeVar("T")
#: Makes a module: on the device "meta" without values, else with its first ones.
Make = Callable[[str | None], nn.Module]
_SEEDS: Final = 1_000_003  # between the seeds of two shares


@dataclass(frozen=True)
class Share:
    """Which part of a batch a process reads: the index-th of `of` equal ones."""

    index: int = 0
    of: int = 1


ALL: Final = Share()


class World:
    """One process. rank: of this process among `size`; the first one speaks and writes for all."""

    rank: int = 0
    size: int = 1
    share: Share = ALL

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def arrange(self, tp: int, device: str, span: Span | None) -> None:
        """Let `tp` processes share each layer, and the groups of them the data; before anything is placed.

        Raises CompileError at `span` where the world has no such groups.
        """
        if self.size % tp:
            message = f"{self.size} processes do not make groups of {tp}"
            cure = "start a multiple of `tp` with torchrun, or set `parallel.tp`"
            raise fail("bad-value", message, span, help=cure)

    def device(self, name: str) -> torch.device:
        """Where this process computes: a recipe's `train.device`, one's own of several."""
        return torch.device(name)

    def seed(self, seed: int) -> int:
        """Of this process's generator: dropout differs from share to share of a batch."""
        return seed + _SEEDS * self.share.index

    def together(self, act: Callable[[], T]) -> T:
        """What `act`, which every process does, gives here. Raises on all what it raises on any of them:
        CompileError and OSError. `act` must not reach for the other processes itself.
        """
        return act()

    def once(self, act: Callable[[], T]) -> T:
        """What `act`, which the first process does alone, gives there. Raises on all what it raises there."""
        return act()

    def each(self, value: T) -> list[T]:
        """A value of every process, in their order."""
        return [value]

    def shares(self, value: T) -> list[T]:
        """A value of every share of the data, in their order."""
        return self.each(value)

    def total(self, values: Sequence[float]) -> list[float]:
        """The sums of numbers over the shares of the data."""
        return list(values)

    def most(self, value: int) -> int:
        """The largest of a number over all processes."""
        return value

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """The 2-norm of all gradients, whichever process has them: float[], to the bit the same on all."""
        return get_total_norm(gradients)

    def place(self, make: Make, device: torch.device, plan: Callable[[], Placement]) -> nn.Module:
        """The module that `make` gives, on the device and in the parts in which it is to be trained.

        plan: gives what the parts are, where there are any.
        """
        return make(None).to(device)

    def whole(self, model: nn.Module, make: Make) -> Any:
        """A placed model as one plain module, on the first process; on others None."""
        return model


ALONE: Final = World()


def leads() -> bool:
    """Whether this process is the first of those that torchrun started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined() -> Iterator[World]:
    """The world that this process belongs to, by the variables that torchrun sets."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    from runtime.parallel.torchrun import torchrun

    with torchrun() as world:
        yield world
