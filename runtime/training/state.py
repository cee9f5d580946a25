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

from compiler.weights.readers import read_header
from runtime.checkpoint.layout import check_entries
from runtime.checkpoint.reader import open_checkpoint
from runtime.checkpoint.staging import Staging
from runtime.checkpoint.writer import TensorStream, file_chunks

WEIGHTS: Final = "model.safetensors"
STATE: Final = "state.safetensors"
PROGRESS: Final = "state.json"


@dataclass
class Progress:
    """How far a run is. best: the figure that the recipe calls so; stale: evaluations since.
    seconds: of training, over all processes of the run.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class State:
    """The parts of a run that change."""

    model: nn.Module
    optimizer: Optimizer
    schedule: LambdaLR
    progress: Progress

    def nbytes(self) -> int:
        """About what a generation takes on the disk."""
        tensors = [*self.model.state_dict().values(), *self._tensors()[0].values()]
        return sum(int(t.nbytes) for t in tensors) + (1 << 16)

    def write(self, staging: Staging) -> None:
        """Put all of it into a generation."""
        tensors, scalars = self._tensors()
        write_tensors(staging, WEIGHTS, self.model.state_dict())
        write_tensors(staging, STATE, tensors)
        schedule = {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"}
        facts = {"progress": asdict(self.progress), "optimizer": scalars, "schedule": schedule}
        staging.write(PROGRESS, [json.dumps(facts, indent=1).encode()])

    def read(self, folder: Path) -> None:
        """Take all of it from a generation of the same recipe."""
        facts = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        read_weights(self.model, folder)
        held = read_tensors(folder / STATE)
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
        torch.set_rng_state(held["rng/cpu"])
        if "rng/cuda" in held:
            torch.cuda.set_rng_state(held["rng/cuda"])

    def _tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The optimizer's tensors and the generators, by key; and what of the optimizer is no tensor."""
        held = self.optimizer.state_dict()
        tensors: dict[str, Tensor] = {"rng/cpu": torch.get_rng_state()}
        if any(p.is_cuda for p in self.model.parameters()):
            tensors["rng/cuda"] = torch.cuda.get_rng_state()
        scalars: dict[str, dict[str, Any]] = {}
        for index, entry in held["state"].items():
            for name, value in entry.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{index}/{name}"] = value
                else:
                    scalars.setdefault(str(index), {})[name] = value
        return tensors, {"state": scalars, "param_groups": held["param_groups"]}


def write_tensors(staging: Staging, name: str, tensors: dict[str, Tensor]) -> None:
    """One safetensors file of a generation."""
    stream = TensorStream.of(tensors)
    check_entries(stream.entries)
    staging.write(name, file_chunks(stream.entries, stream))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, in memory of their own."""
    checkpoint = open_checkpoint(read_header(path))
    return {key: checkpoint.tensor(key).clone() for key in checkpoint.header.tensors}


def read_weights(model: nn.Module, folder: Path) -> None:
    """Fill a model from a generation."""
    model.load_state_dict(read_tensors(folder / WEIGHTS))
