"""Everything that a step depends on beside recipe and data: written into a generation, put back exactly."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from runtime.checkpoint.staging import Staging
from runtime.parallel.world import ALONE, World
from runtime.training.saved import Saved, open_saved, write_saved

PROGRESS: Final = "state.json"


@dataclass
class Progress:
    """How far a run is. due: whether the evaluation after `step` is still to be done.

    best: the figure that the recipe calls so; stale: evaluations since. seconds: of training, over all
    processes of the run.
    """

    step: int = 0
    due: bool = False
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class State:
    """The parts of a run that change; of model and optimizer each process of a world may have a part."""

    model: nn.Module
    optimizer: Optimizer
    schedule: LambdaLR
    progress: Progress
    world: World = ALONE

    def nbytes(self) -> int:
        """About what a generation takes on the disk."""
        tensors = [*self.model.state_dict().values(), *self._optimizer()[0].values()]
        return sum(int(t.nbytes) for t in tensors) + (1 << 16)

    def write(self, staging: Staging) -> None:
        """Put all of it into a generation."""
        tensors, scalars = self._optimizer()
        tensors |= {self._generator(device): state for device, state in self._generators().items()}
        write_saved(staging, self.model.state_dict(), tensors, self.world)
        schedule = {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"}
        facts = {"progress": asdict(self.progress), "optimizer": scalars, "schedule": schedule}
        self.world.once(lambda: staging.write(PROGRESS, [json.dumps(facts, indent=1).encode()]))

    def read(self, folder: Path) -> None:
        """Take all of it from a generation of the same recipe, whatever world wrote it.

        The generators of a process that has no namesake there stay as they are.
        """
        facts = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        saved = open_saved(folder, self.world)
        held = self._room(saved)
        saved.fill({**self.model.state_dict(), **held})
        states: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in facts["optimizer"]["state"].items()}
        for key, tensor in held.items():
            owner, *rest = key.split("/")
            if owner == "optimizer":
                states.setdefault(int(rest[0]), {})[rest[1]] = tensor
        self.optimizer.load_state_dict({"state": states, "param_groups": facts["optimizer"]["param_groups"]})
        self.schedule.load_state_dict(
            {**facts["schedule"], "lr_lambdas": [None] * len(self.schedule.lr_lambdas)}
        )
        for name, value in facts["progress"].items():
            setattr(self.progress, name, value)
        if self._generator("cpu") in held:
            torch.set_rng_state(held[self._generator("cpu")])
        if self._generator("cuda") in held:
            torch.cuda.set_rng_state(held[self._generator("cuda")])

    def _room(self, saved: Saved) -> dict[str, Tensor]:
        """Memory for what was saved beside the weights: cut like a parameter what is shaped like it."""
        parameters: list[Tensor] = [p for group in self.optimizer.param_groups for p in group["params"]]
        held: dict[str, Tensor] = {}
        for key, entry in saved.tensors.items():
            owner, *rest = key.split("/")
            if rest:
                like = parameters[int(rest[0])] if owner == "optimizer" else entry
                same = like.shape == entry.shape and not like.is_meta
                held[key] = torch.empty_like(like if same else entry, device=None if same else "cpu")
        return held

    def _generators(self) -> dict[str, Tensor]:
        """The states of this process's generators, by device."""
        found = {"cpu": torch.get_rng_state()}
        if any(p.is_cuda for p in self.model.parameters()):
            found["cuda"] = torch.cuda.get_rng_state()
        return found

    def _generator(self, device: str) -> str:
        """The key of this process's generator. Those who share the layers draw alike."""
        index = self.world.share.index
        return f"rng/{device}" + (f"/{index}" if index else "")

    def _optimizer(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The optimizer's tensors by key; and what of it is no tensor."""
        held = self.optimizer.state_dict()
        tensors: dict[str, Tensor] = {}
        scalars: dict[str, dict[str, Any]] = {}
        for index, entry in held["state"].items():
            for name, value in entry.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{index}/{name}"] = value
                else:
                    scalars.setdefault(str(index), {})[name] = value
        return tensors, {"state": scalars, "param_groups": held["param_groups"]}


def read_weights(model: nn.Module, folder: Path) -> None:
    """Fill a model from a generation."""
    open_saved(folder, ALONE).fill(model.state_dict())
