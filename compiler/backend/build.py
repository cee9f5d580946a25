"""build: source text -> nn.Module, by executing that very text as a module of its own."""

from __future__ import annotations

import hashlib
import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from compiler.backend.check import check_text
from compiler.backend.emit import emit
from compiler.ir.program import Program


def build(
    program: Program, *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> nn.Module:
    """The module of a program, its weights set by the spec's init rules; on device "meta" they have no values.

    The class's module holds the text's Program as `program`.
    """
    module = load_text(emit(program), program)
    with _on_meta():
        model: nn.Module = getattr(module, program.root.name)()
    convert(model, program, dtype)
    if str(device) == "meta":
        return model
    model.to_empty(device=device or torch.get_default_device())
    if program.inits:
        initialise: Any = model
        initialise.init_weights()
    return model


def program_of(model: nn.Module) -> Program:
    """The program that a module was built from. Raises TypeError for any other module."""
    program = getattr(sys.modules.get(type(model).__module__), "program", None)
    if not isinstance(program, Program):
        raise TypeError(f"{type(model).__name__} was not built by this compiler")
    return program


def load_text(text: str, program: Program) -> ModuleType:
    """The text as an imported module, known to linecache, inspect and pickle; equal texts of one spec are one module."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    name = f"{program.name}_{digest}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    check_text(text)
    filename = f"<{name}>"
    module = ModuleType(name)
    module.__file__ = filename
    module.__dict__["program"] = program
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec"), module.__dict__)  # noqa: S102 - the checked text of emit, nothing else
    sys.modules[name] = module
    return module


def convert(model: nn.Module, program: Program, dtype: torch.dtype | None) -> None:
    """Give the parameters that follow the module's dtype that dtype; others keep the one that the spec fixes."""
    if dtype is not None:
        model.to(dtype)
        for parameter in program.table.parameters:
            if parameter.dtype != "float":
                tensor = model.get_parameter(parameter.name)
                tensor.data = tensor.data.to(getattr(torch, parameter.dtype))


class _SkipInit(TorchFunctionMode):
    """Turns torch.nn.init into nothing: on the meta device it has no effect but time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def _on_meta() -> Iterator[None]:
    with torch.device("meta"), _SkipInit():
        yield
