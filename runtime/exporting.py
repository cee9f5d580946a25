"""export: a module back into somebody else's checkpoint, by the plan run backwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from compiler.backend.build import program_of
from compiler.diagnostics.diagnostic import fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.program import Program
from compiler.ir.values import Value
from compiler.parallel.placement import place
from compiler.parallel.translate import translated
from compiler.passes.blockdata import block_params
from compiler.passes.io import every_setting
from compiler.weights.config_source import CONFIG, GENERATION
from compiler.weights.config_write import write_config, write_generation
from compiler.weights.library import Library, WeightMap
from compiler.weights.load_plan import LoadPlan
from compiler.weights.plan import plan_export
from runtime.checkpoint.dtypes import name_of
from runtime.checkpoint.layout import Entry
from runtime.checkpoint.writer import TensorStream, write_safetensors
from runtime.files import carried
from runtime.joined import spec_state
from runtime.load_plan import export_plan
from runtime.loading import plan_of

PARALLEL: Final = "parallel.json"


def export(model: nn.Module, folder: str | Path, *, to: str = "hf", force: bool = False) -> tuple[Path, ...]:
    """Write a module as a checkpoint folder of another project: model.safetensors and, where it
    has them, config.json and generation_config.json; what stands beside the weights that were loaded and is
    about texts, images or sound comes along. parallel.json is the plan of tensor parallelism in the words and
    names of transformers, which itself writes none into a config.json.

    to: a dialect of the module's spec. A module that was loaded from that dialect gives back the names it
    came with. Returns the files. Raises CompileError for a dialect that is only read,
    for params that it has no words for, and for files that something else wrote, unless `force`.
    """
    program = program_of(model)
    map = _map(program, to)
    loaded = plan_of(model)
    plan = loaded if loaded is not None and loaded.map == map.name else plan_export(map, program.table)
    extra: dict[str, bytes] = {}
    if map.config is not None:
        extra |= carried(model)
        config = write_config(map, program.table, block_params(program))
        io = every_setting(program.typed.graph.io)
        config |= _names(config, io["labels"])
        if map.generation is not None:
            settings = write_generation(map, io)
            config = {**{key: settings[key] for key in map.generation.shared if key in settings}, **config}
            extra[GENERATION] = _json({key: value for key, value in settings.items() if value is not None})
        extra[CONFIG] = _json(config)
        styles = translated(place(program.typed), plan)
        extra |= {PARALLEL: _json({"tp_plan": styles})} if styles else {}
    return write_safetensors(Path(folder), _stream(plan, model), extra=extra, force=force)


def _names(config: dict[str, Any], labels: Value) -> dict[str, Any]:
    """The names of the classes, both ways, for a config that numbers them."""
    if not isinstance(labels, tuple) or len(labels) != len(config.get("id2label", ())):
        return {}
    names = [str(name) for name in labels]
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


def _json(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _map(program: Program, dialect: str) -> WeightMap:
    maps = Library.standard().candidates(program.table.spec, program.table.parents)
    for map in maps:
        if map.dialect == dialect:
            return map
    raise fail(
        "cannot-export",
        f"the spec {program.name} has no dialect `{dialect}`",
        None,
        help=did_you_mean(dialect, [m.dialect for m in maps]),
    )


def _stream(plan: LoadPlan, model: nn.Module) -> TensorStream:
    """The checkpoint's tensors in file order, each made when its turn comes."""
    dtypes = {name: tensor.dtype for name, tensor in spec_state(model).items()}
    source = {move.theirs: dtypes[move.ours] for group in plan.groups for move in group.moves}
    entries = [Entry(key, name_of(source[key]), spec.shape) for key, spec in plan.theirs.items()]
    return TensorStream(entries, _Fetch(plan, model))


class _Fetch:
    """Gives the tensors of an export by key, in whatever order the writer asks for them."""

    def __init__(self, plan: LoadPlan, model: nn.Module) -> None:
        self._made: Iterator[tuple[str, torch.Tensor]] = export_plan(plan, model)
        self._waiting: dict[str, torch.Tensor] = {}

    def __call__(self, key: str) -> torch.Tensor:
        while key not in self._waiting:
            name, tensor = next(self._made)
            self._waiting[name] = tensor
        return self._waiting.pop(key)
