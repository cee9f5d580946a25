"""Folders in this project's own terms: a spec, a map of equal names, and the tensors.

`runtime.load(folder)` opens one of any model, also of those that no other project has names for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from compiler.ir.program import Program
from compiler.passes.blockdata import block_params
from compiler.passes.io import split_settings
from compiler.passes.library import Library, find_spec
from compiler.passes.overrides import plain
from compiler.pipeline import OWN_SPEC
from compiler.syntax.yaml import Map
from runtime.training.fields import written
from runtime.training.model import find
from runtime.training.recipe import Recipe


def own_files(recipe: Recipe, settings: Map, program: Program, folder: Path) -> Mapping[str, bytes]:
    """The texts that make tensors in `folder` a model: what the recipe's spec is with its settings.

    A spec of the packaged library is named; one of the user's own by its path as seen from the folder.
    """
    name, variant, found = find(recipe.file.model.spec)
    spec = Library().spec(name).spec
    assert spec is not None
    params = dict(plain(next((values for key, values in spec.variants.items() if key == variant), {})))
    params |= found
    blocks = block_params(program)
    io = {str(key): plain(value) for key, value in split_settings(spec, settings)[1].items()}
    for key, value in split_settings(spec, settings)[0].items():
        owner, dot, _ = key.partition(".")
        params[owner] = blocks[owner] if dot else plain(value)
    path = find_spec(name)
    parent = str(name) if str(name) == path.stem else os.path.relpath(path, folder)
    lines = [f"spec: {spec.spec.value}", f"extends: {parent}", f"params: {json.dumps(params)}"]
    if io:
        lines.append(f"io: {json.dumps(io, ensure_ascii=False)}")
    adapters = recipe.file.model.adapters
    if adapters is not None:
        lines.append(f"adapters: {json.dumps(written(adapters))}")
    return {OWN_SPEC: _text(lines), f"{program.table.spec}.own.yaml": _text(_map_lines(program))}


def _map_lines(program: Program) -> list[str]:
    """Every tensor under its own name."""
    lines = ["weightmap: 1", f"spec: {program.table.spec}", "dialect: own", "rules:"]
    return lines + [f"  - {p.name} <> {p.name}" for p in program.table.parameters]


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
