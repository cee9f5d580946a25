"""emit: Program -> source text. One standalone file that imports torch, math, typing and nothing of ours."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.backend.carried import carried
from compiler.backend.class_text import ClassWriter, docstring, wrapped
from compiler.backend.steps import output_class
from compiler.ir.program import ClassDecl, Program

if TYPE_CHECKING:
    from jinja2 import Template


def emit(program: Program) -> str:
    """The text that `build` executes, byte for byte."""
    by_unit: dict[int, ClassDecl] = {id(u): c for c in program.classes for u in c.units}
    classes = ["\n".join(ClassWriter(program, c, by_unit).lines()) for c in program.classes]
    body = "\n".join(classes)
    parts = [*carried(body), *_output(program), *classes]
    whole = "\n".join(parts)
    imports = []
    if "NamedTuple" in whole:
        imports += ["from typing import NamedTuple", ""]
    imports.append("import torch")
    if "F." in whole:
        imports.append("import torch.nn.functional as F")
    imports.append("from torch import nn")
    return _template().render(header="\n".join(docstring(_header(program))), imports=imports, parts=parts)


def _header(program: Program) -> list[str]:
    root = program.typed.root.block
    lines = wrapped(root.summary or root.name)
    if root.source:
        lines += ["", *wrapped(root.source)]
    return lines


def _output(program: Program) -> list[str]:
    outputs = program.root.unit.outputs
    if len(outputs) == 1:
        return []
    fields = [f"    {name}: torch.Tensor" for name in outputs]
    return ["\n".join([f"class {output_class(program.root.name)}(NamedTuple):", *fields])]


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    text = Path(__file__).with_name("templates").joinpath("model.py.j2").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return environment.from_string(text)
