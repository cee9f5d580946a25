"""Small maps and headers for tests of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.diagnostics.diagnostic import CompileError
from compiler.ir.parameters import Parameter, ParameterTable
from compiler.weights.header import Header, TensorInfo
from compiler.weights.library import Library, WeightMap
from tests.unit.weights.tables import LINE

HEAD = "weightmap: 1\nspec: toy\ndialect: hf\n"
Shapes = Mapping[str, tuple[int, ...]]


def write(folder: Path, body: str, name: str = "toy.hf") -> WeightMap:
    """A map with the body's sections, as a library finds it. Lines of the body begin at 4."""
    (folder / f"{name}.yaml").write_text(HEAD + body)
    return Library((folder,)).load(name)


def ours(shapes: Shapes, ties: Mapping[str, str] | None = None, **values: Any) -> ParameterTable:
    parameters = tuple(Parameter(name, shape, "float", LINE) for name, shape in shapes.items())
    return ParameterTable("toy", (), parameters, ties or {}, values)


def theirs(shapes: Shapes, dtype: str = "float32", **dtypes: str) -> Header:
    path = Path("model.safetensors")
    infos = {key: TensorInfo(key, dtypes.get(key, dtype), shape, path) for key, shape in shapes.items()}
    return Header(path, "safetensors", infos, {})


def report(error: CompileError, folder: Path) -> str:
    """The rendered faults with the folder's name left out."""
    return str(error).replace(f"{folder}/", "")
