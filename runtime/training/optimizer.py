"""torch's optimizers and schedules, as a recipe names them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from runtime.training.fields import Count, KindSection, Number, Shares

Rate = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Part = Annotated[Number, Field(ge=0, le=1)]


class OptimizerSection(KindSection):
    """weight_decay: of matrices; vectors (biases, scales of norms) are not decayed."""

    lr: Rate
    weight_decay: NotNegative = 0.0

    @property
    @abstractmethod
    def moments(self) -> int:
        """How many numbers it keeps for each that it trains."""

    @abstractmethod
    def make(self, groups: list[dict[str, object]]) -> Optimizer:
        """The optimizer of parameter groups."""

    def of(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """The optimizer of those parameters that are trained, matrices and vectors apart."""
        trained = [p for p in parameters if p.requires_grad]
        matrices, vectors = [p for p in trained if p.dim() > 1], [p for p in trained if p.dim() <= 1]
        groups = ((matrices, self.weight_decay), (vectors, 0.0))
        return self.make([{"params": params, "weight_decay": decay} for params, decay in groups if params])


class AdamWSection(OptimizerSection):
    """Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization."""

    betas: Annotated[Shares, Field(min_length=2, max_length=2)] = (0.9, 0.999)
    eps: Rate = 1e-8

    @property
    def moments(self) -> int:
        """The means of gradients and of their squares."""
        return 2

    def make(self, groups: list[dict[str, object]]) -> Optimizer:
        """torch.optim.AdamW, its fused form."""
        return AdamW(groups, lr=self.lr, betas=(self.betas[0], self.betas[1]), eps=self.eps, fused=True)


class SGDSection(OptimizerSection):
    """Stochastic gradient descent."""

    momentum: NotNegative = 0.0

    @property
    def moments(self) -> int:
        """One with momentum."""
        return 1 if self.momentum else 0

    def make(self, groups: list[dict[str, object]]) -> Optimizer:
        """torch.optim.SGD."""
        return SGD(groups, lr=self.lr, momentum=self.momentum)


class ScheduleSection(KindSection):
    """warmup: steps in which the rate rises from 0. floor: the share of it that is left at the end."""

    warmup: Count = 0
    floor: Part = 0.0

    @abstractmethod
    def factor(self, progress: float) -> float:
        """The share of the full rate at a point in [0, 1] behind the warm-up."""

    def of(self, optimizer: Optimizer, steps: int) -> LambdaLR:
        """The schedule of a run of that many steps."""
        return LambdaLR(optimizer, self._factors(steps))

    def _factors(self, steps: int) -> Callable[[int], float]:
        def factor(step: int) -> float:
            if step < self.warmup:
                return (step + 1) / (self.warmup + 1)
            progress = (step - self.warmup) / max(1, steps - self.warmup)
            return self.floor + (1 - self.floor) * self.factor(min(1.0, progress))

        return factor


class Constant(ScheduleSection):
    """The same rate throughout."""

    def factor(self, progress: float) -> float:
        """1."""
        return 1.0


class Linear(ScheduleSection):
    """A straight line down."""

    def factor(self, progress: float) -> float:
        """1 - progress."""
        return 1.0 - progress


class Cosine(ScheduleSection):
    """Half a wave down (Loshchilov and Hutter 2017, SGDR)."""

    def factor(self, progress: float) -> float:
        """(1 + cos(pi progress)) / 2."""
        return (1.0 + math.cos(math.pi * progress)) / 2


OPTIMIZERS: Final[Mapping[str, type[OptimizerSection]]] = MappingProxyType(
    {"adamw": AdamWSection, "sgd": SGDSection}
)
SCHEDULES: Final[Mapping[str, type[ScheduleSection]]] = MappingProxyType(
    {"constant": Constant, "linear": Linear, "cosine": Cosine}
)
