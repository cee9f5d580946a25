"""One step: gradients of a batch in parts, a look at whether they are numbers, and the update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runtime.parallel.gradients import clip_to, local
from runtime.parallel.world import ALONE, World
from runtime.training.data.common import Example
from runtime.training.losses import LossSection, Outputs, counted


@dataclass(frozen=True)
class Trained:
    """A model and what a recipe says about running it. inputs: the names that `forward` takes."""

    model: nn.Module
    loss: LossSection
    inputs: frozenset[str]
    outputs: tuple[str, ...]
    precision: torch.dtype
    device: torch.device

    def run(self, batch: Example) -> tuple[Tensor, Outputs]:
        """The loss of a batch and the outputs by name."""
        given = {name: value for name, value in batch.items() if name in self.inputs}
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            found = self.model(**given)
        outputs = {self.outputs[0]: found} if isinstance(found, Tensor) else found._asdict()
        return self.loss.of(outputs, batch), outputs

    def to_device(self, batch: Example) -> Example:
        """The batch where the model is."""
        return {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}


#: A part whose loss is no number, and torch's generator as it was before it was run.
Fault = tuple[Example, Tensor]


class NotFinite(Exception):
    """A loss or gradient that is no number; nothing was updated. module: the first that made one."""

    def __init__(self, what: str, module: str) -> None:
        super().__init__(f"{what} is not finite, first in {module}")
        self.what, self.module = what, module


def train_step(
    trained: Trained,
    optimizer: Optimizer,
    batches: Sequence[Example],
    clip: float | None,
    world: World = ALONE,
) -> tuple[float, float]:
    """Update once from the parts of a batch; the loss, and the gradient's norm before it is clipped.

    The loss is the mean over everything that the parts count together, however they are cut and whichever
    process of the world reads them. Raises NotFinite, on all processes and before the update.
    """
    optimizer.zero_grad(set_to_none=True)
    counts = [counted(batch) for batch in batches]
    [everything] = world.total([sum(counts)])
    if not everything:
        raise NotFinite("the loss", "the mean over labels: none of the batch counts")
    total, fault = 0.0, None
    for batch, count in zip(batches, counts, strict=True):
        batch = trained.to_device(batch)
        if not count:  # the mean over nothing is no number; over anything it is one, and weighs nothing
            batch["labels"] = torch.zeros_like(batch["labels"])
        before = torch.get_rng_state()
        loss, _ = trained.run(batch)
        part = loss * (count / everything)
        if fault is None and not torch.isfinite(part):
            fault = (batch, before)
        part.backward()  # type: ignore[no-untyped-call]
        total += float(part.detach())
    [total] = world.total([total])
    if not math.isfinite(total):
        raise NotFinite("the loss", _blamed(trained, batch, fault, world))
    parameters = [p for p in trained.model.parameters() if p.grad is not None]
    norm = world.norm([p.grad for p in parameters if p.grad is not None])
    if not torch.isfinite(norm):
        raise NotFinite("the gradient", _first_gradient(trained.model, world))
    if clip is not None:
        clip_to(parameters, clip, norm)
    optimizer.step()
    return total, float(norm)


def _blamed(trained: Trained, batch: Example, fault: Fault | None, world: World) -> str:
    """Where the loss first went wrong on the first process on which it did; all run, for the model may be
    in parts.
    """
    if fault is not None:
        batch, state = fault
        torch.set_rng_state(state)
    found = first_not_finite(trained, batch)
    names = world.each(found if fault is not None else None)
    return next((name for name in names if name is not None), "the sum of its parts")


def first_not_finite(trained: Trained, batch: Example) -> str:
    """The path of the first module whose output is not finite though its parts' are; else `the loss`."""
    found: list[str] = []

    def look(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            tensors = output if isinstance(output, tuple) else (output,)
            floats = [t for t in tensors if isinstance(t, Tensor) and t.is_floating_point()]
            if not found and any(not t.isfinite().all() for t in floats):
                found.append(name or type(module).__name__)

        return hook

    handles = [m.register_forward_hook(look(name)) for name, m in trained.model.named_modules()]
    try:
        with torch.no_grad():
            trained.run(batch)
    finally:
        for handle in handles:
            handle.remove()
    return f"`{found[0]}`" if found else "the loss itself"


def _first_gradient(model: nn.Module, world: World) -> str:
    """The last parameter in the order of the model: gradients flow backwards, so the first to go bad."""
    names = [name for name, _ in model.named_parameters()]
    ours = [
        n for n, p in model.named_parameters() if p.grad is not None and not local(p.grad).isfinite().all()
    ]
    bad = sorted({name for found in world.each(ours) for name in found}, key=names.index)
    return f"`{bad[-1].rpartition('.')[0]}`" if bad else "the sum of all (each of them is)"
