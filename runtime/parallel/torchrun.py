"""The processes that torchrun started, as a World: torch.distributed's collectives, FSDP2 and DTensor."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.utils import get_total_norm

from compiler.diagnostics.diagnostic import CompileError
from compiler.parallel.placement import Placement
from compiler.source.text import Span
from runtime.parallel.gradients import local
from runtime.parallel.sharding import DATA, TENSOR, gathered, is_cut, sharded
from runtime.parallel.world import Make, Share, World

T = TypeVar("T")


@contextmanager
def torchrun() -> Iterator[World]:
    """The world of this process, its group made here, unless the program that it is part of has one."""
    made = not dist.is_initialized()
    if made:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        with warnings.catch_warnings():
            # Of changing a layer's output in place, which no text of ours does.
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")
            yield Torchrun()
    finally:
        if made:
            dist.destroy_process_group()


class Torchrun(World):
    """Several processes: a mesh of groups that share the data, each of `tp` that share the layers.

    Numbers and words travel by CPU, what belongs to the model by the device's own means.
    """

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._mesh: DeviceMesh | None = None
        self._tp = 1

    def arrange(self, tp: int, device: str, span: Span | None) -> None:
        """Make the mesh."""
        super().arrange(tp, device, span)
        self._tp = tp
        self.share = Share(self.rank // tp, self.size // tp)
        where = self.device(device)
        if where.type == "cuda":
            torch.cuda.set_device(where)
        self._mesh = init_device_mesh(where.type, (self.share.of, tp), mesh_dim_names=(DATA, TENSOR))

    def device(self, name: str) -> torch.device:
        """The device of this process among those of its machine."""
        if name == "cuda":
            return torch.device(name, int(os.environ.get("LOCAL_RANK", "0")))
        return super().device(name)

    def together(self, act: Callable[[], T]) -> T:
        """Agreed by a message from each to all."""
        value, fault = _tried(act)
        for found in self.each(fault):
            if found is not None:
                raise found
        return value  # type: ignore[return-value]

    def once(self, act: Callable[[], T]) -> T:
        """Told by the first process to the others."""
        value, fault = _tried(act) if self.first else (None, None)
        told: list[Any] = [(value, fault)]
        dist.broadcast_object_list(told, src=0)
        if fault is None and not self.first:
            value, fault = told[0]
        if fault is not None:
            raise fault
        return value  # type: ignore[return-value]

    def each(self, value: T) -> list[T]:
        """Pickled: for small things."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def shares(self, value: T) -> list[T]:
        """Those who share layers have the same part of the data."""
        return self.each(value)[:: self._tp]

    def total(self, values: Sequence[float]) -> list[float]:
        """In double precision, which holds counts exactly."""
        counts = self.rank % self._tp == 0
        sums = torch.tensor([value if counts else 0.0 for value in values], dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.tolist()

    def most(self, value: int) -> int:
        """The largest."""
        found = torch.tensor(value)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Each part counts once: a gradient that several processes have whole, on the first of them."""
        firsts = {DATA: self.share.index == 0, TENSOR: self.rank % self._tp == 0}
        ours = [g for g in gradients if all(first or is_cut(g, along) for along, first in firsts.items())]
        norm = get_total_norm([local(gradient) for gradient in ours])
        square = norm.double().square().cpu()
        dist.all_reduce(square)
        return square.sqrt().to(norm)

    def place(self, make: Make, device: torch.device, plan: Callable[[], Placement]) -> nn.Module:
        """No process but the first ever holds the whole model, and that one not on the device."""
        assert self._mesh is not None
        placement = self.together(plan)
        values = self.together(lambda: make(None).state_dict() if self.first else {})
        return sharded(make("meta"), values, placement, self._mesh, device)

    def whole(self, model: nn.Module, make: Make) -> Any:
        """Gathered tensor by tensor into the first process's memory."""
        values = gathered(model)
        if not self.first:
            return None
        plain = make("meta")
        plain.load_state_dict(values, assign=True)
        return plain


def _tried(act: Callable[[], T]) -> tuple[T | None, CompileError | OSError | None]:
    try:
        return act(), None
    except (CompileError, OSError) as fault:
        return None, fault
