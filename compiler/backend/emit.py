"""emit: Program -> source text. One standalone file that imports torch, math, typing and nothing of ours."""

from __future__ import annotations

from compiler.backend.allowed import EINOPS
from compiler.backend.carried import carried, used_names
from compiler.backend.class_text import ClassWriter, output_class
from compiler.backend.lines import docstring, wrapped
from compiler.ir.program import ClassDecl, Program


def emit(program: Program) -> str:
    """The text that `build` executes, byte for byte."""
    by_unit: dict[int, ClassDecl] = {id(u): c for c in program.classes for u in c.units}
    classes = ["\n".join(ClassWriter(program, c, by_unit).lines()) for c in program.classes]
    output = _output(program)
    names = used_names("\n".join(classes)) | ({"NamedTuple"} if output else set())
    functions = carried(names)
    imports = _imports(names | used_names("\n".join(functions)))
    header = "\n".join(docstring(_header(program)))
    parts = (f"\n\n{part}" for part in (*functions, *output, *classes))
    return "\n".join([header, "", *imports, *parts, ""])


def _imports(names: frozenset[str]) -> list[str]:
    """The lines of the imports, sorted in groups."""
    standard = ["import math"] if "math" in names else []
    standard += ["from typing import NamedTuple"] if "NamedTuple" in names else []
    needed = ["import torch"] if "torch" in names else []
    needed += ["import torch.nn.functional as F"] if "F" in names else []
    einops = sorted(names & EINOPS)
    needed += [f"from einops import {', '.join(einops)}"] if einops else []
    return [*standard, *([""] if standard else []), *needed, "from torch import nn"]


def _header(program: Program) -> list[str]:
    root = program.typed.root.block
    lines = wrapped(root.summary.strip() or root.name)
    if root.source.strip():
        lines += ["", *wrapped(root.source)]
    return lines


def _output(program: Program) -> list[str]:
    unit = program.root.unit
    outputs = [name for name in unit.outputs if name != unit.typed.block.early]
    if len(outputs) == 1:
        return []
    fields = [f"    {name}: torch.Tensor" for name in outputs]
    return ["\n".join([f"class {output_class(program.root.name)}(NamedTuple):", *fields])]
