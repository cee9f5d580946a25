"""Specs of one node, through the whole pipeline: declared, typed, written as text, built and run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import compiler
from compiler.backend.build import build
from compiler.ir.dims import Dim
from compiler.ir.program import Program
from compiler.ir.typed import TypedNode
from compiler.ir.types import TensorType
from compiler.ir.values import Value, evaluate
from compiler.syntax.expr import Name, parse_expr

#: dtype of a type -> torch's, in a module built in float64 so that formulas agree to rounding
TORCH = {
    "float": torch.float64, "float32": torch.float32, "float64": torch.float64, "float16": torch.float16,
    "bfloat16": torch.bfloat16, "int": torch.int64, "int32": torch.int32, "bool": torch.bool,
}  # fmt: skip

_FOLDER = tempfile.TemporaryDirectory(prefix="one-node-")


@dataclass(frozen=True)
class Case:
    """A node `y: {op: ..., ...}` as YAML flow text, and the types of the spec's inputs."""

    node: str
    inputs: Mapping[str, str]
    before: str = ""  # node lines in front of it
    params: str = ""  # flow text of the spec's params
    blocks: str = ""  # lines of private blocks
    outputs: str = "y: y"

    @property
    def text(self) -> str:
        inputs = "".join(f"  {name}: {kind!r}\n" for name, kind in self.inputs.items())
        params = f"params: {{{self.params}}}\n" if self.params else ""
        ports = f"inputs:\n{inputs}" if inputs else ""
        nodes = f"nodes:\n{self.before}  y: {{{self.node}}}\n"
        return f"spec: one\n{params}{ports}{self.blocks}{nodes}outputs: {{{self.outputs}}}\n"


def compiled(case: Case) -> Program:
    path = Path(_FOLDER.name) / "one.yaml"
    path.write_text(case.text, encoding="utf-8")
    return compiler.compile(path)


def built(case: Case, dtype: torch.dtype = torch.float64) -> nn.Module:
    return build(compiled(case), dtype=dtype)


def node(program: Program, name: str = "y") -> TypedNode:
    return program.typed.root.node(name)


def sizes_of(program: Program, tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """The symbols of a spec's inputs as the sizes of actual tensors."""
    sizes: dict[str, int] = {}
    for name, found in program.typed.root.inputs.items():
        if name in tensors:
            for axis, size in enumerate(found.shape):
                if size.constant is None:
                    actual = tensors[name].shape[axis]
                    assert sizes.setdefault(str(size), actual) == actual, (
                        f"the test feeds two sizes for {size}"
                    )
    return sizes


def number(size: Dim, sizes: Mapping[str, int]) -> int:
    """A symbolic size at the sizes of a call; opaque symbols are read as the expressions that they spell."""

    def lookup(name: Name) -> Value:
        return sizes[name.name]

    value = evaluate(parse_expr(size.spell()), lookup)
    assert isinstance(value, int)
    return value


def check_type(found: TensorType, actual: torch.Tensor, sizes: Mapping[str, int]) -> None:
    """The inferred type is the tensor's."""
    assert tuple(number(d, sizes) for d in found.shape) == tuple(actual.shape), f"{found} at {sizes}"
    assert TORCH[found.dtype] == actual.dtype, f"{found} is {actual.dtype}"


def run(case: Case, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    """The outputs of a case, each proved to have the type that was inferred for it."""
    program = compiled(case)
    return outputs(program, build(program, dtype=torch.float64), **tensors)


def outputs(program: Program, module: nn.Module, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
    result = module(**tensors)
    root = program.typed.root
    names = list(root.block.outputs)
    values = {names[0]: result} if len(names) == 1 else dict(zip(names, result, strict=True))
    sizes = sizes_of(program, tensors)
    for name, ref in root.block.outputs.items():
        check_type(root.type_of(ref), values[name], sizes)
    return values


def cost(program: Program, tensors: Mapping[str, torch.Tensor], name: str = "y") -> int:
    """What a node costs at the sizes of these inputs."""
    return number(node(program, name).flops, sizes_of(program, tensors))
