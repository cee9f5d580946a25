"""`DIR/best`: the model for others to open, in the Hugging Face layout wherever its map can say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compiler.backend.build import build
from compiler.diagnostics.diagnostic import CompileError
from compiler.ir.program import Program
from compiler.passes.blockdata import block_params
from compiler.syntax.yaml import Map
from compiler.weights.config_write import write_config
from compiler.weights.library import Library
from compiler.weights.plan import plan_export
from runtime.adapters import save_adapter
from runtime.checkpoint.staging import Staging
from runtime.exporting import export
from runtime.parallel.world import World
from runtime.training import generations
from runtime.training.data.common import Data
from runtime.training.own import own_files
from runtime.training.recipe import Recipe
from runtime.training.saved import WEIGHTS, write_tensors

DIALECT = "hf"
ADAPTER = "adapter"


@dataclass(frozen=True)
class Publisher:
    """Writes the model of a run. settings: `model.set` with the data's facts."""

    recipe: Recipe
    program: Program
    settings: Map
    model: nn.Module
    data: Data
    world: World

    def publish(self, run: Path, step: int) -> None:
        """Let `best` be the model as it is now, whole."""
        size = sum(int(t.nbytes) for t in self.model.state_dict().values()) + (1 << 16)
        model = self.world.whole(self.model, lambda device: build(self.program, device=device))

        def write(staging: Staging) -> None:
            self.world.once(lambda: self._write(staging, model))

        generations.commit(run, "best", step, size, write, self.world)
        self.world.once(lambda: generations.prune(run, "best", 1))

    def describe(self, staging: Staging) -> None:
        """What makes a generation's tensors a model that opens by itself."""
        for name, data in own_files(self.recipe, self.settings, self.program, staging.folder).items():
            staging.write(name, [data])
        self._tokenizer(staging)

    def _write(self, staging: Staging, model: nn.Module) -> None:
        if self.recipe.file.model.adapters is None and why_not_exported(self.program) == "":
            for path in export(model, staging.temporary, to=DIALECT):
                staging.adopt(path.relative_to(staging.temporary).as_posix())
            self._tokenizer(staging)
            return
        write_tensors(staging, WEIGHTS, model.state_dict())
        self.describe(staging)
        if self.recipe.file.model.adapters is not None and has_dialect(self.program):
            for path in save_adapter(model, staging.temporary / ADAPTER, to=DIALECT):
                staging.adopt(f"{ADAPTER}/{path.name}")

    def _tokenizer(self, staging: Staging) -> None:
        if self.data.tokenizer is not None:
            for path in self.data.tokenizer.save(staging.temporary):
                staging.adopt(path.name)


def has_dialect(program: Program) -> bool:
    """Whether the spec has a map to the Hugging Face layout that can be written."""
    maps = Library.standard().candidates(program.table.spec, program.table.parents)
    return any(m.dialect == DIALECT and not m.readonly for m in maps)


def why_not_exported(program: Program) -> str:
    """Why a program has no words in the Hugging Face layout; empty where it has."""
    for found in Library.standard().candidates(program.table.spec, program.table.parents):
        if found.dialect == DIALECT:
            try:
                plan_export(found, program.table)
                if found.config is not None:
                    write_config(found, program.table, block_params(program))
            except CompileError as error:
                return error.diagnostics[0].message
            return ""
    return f"the spec {program.name} has no map to it"
