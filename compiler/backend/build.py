"""build: source text -> nn.Module, by executing that very text as a module of its own."""

from __future__ import annotations

import copyreg
import hashlib
import linecache
import sys
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
    """The module of a program, initialised by the spec's rules; on device "meta" nothing is allocated."""
    module = load_text(emit(program), program)
    with _Unallocated():
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
    module = sys.modules.get(type(model).__module__)
    if not isinstance(module, TextModule):
        raise TypeError(f"{type(model).__name__} was not built by this compiler")
    return module.program


class TextModule(ModuleType):
    """A text as a Python module. A pickle carries text and program; the text is checked where it arrives."""

    def __init__(self, name: str, text: str, program: Program) -> None:
        super().__init__(name, text)
        self.text = text
        self.program = program
        self.__file__ = f"{name}.py"
        self.__loader__ = self  # asked for the lines whenever linecache has dropped them

    def get_source(self, name: str) -> str:
        """The text, as a loader gives it."""
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        return load_text, (self.text, self.program)

    def __deepcopy__(self, memo: object) -> TextModule:
        return self


def load_text(text: str, program: Program) -> TextModule:
    """The text as an imported module, known to linecache, inspect and pickle.

    Equal texts of equal params and settings are one module. Raises UnsafeText.
    """
    told = (sorted(program.table.values.items()), sorted(program.typed.graph.io.items()))
    said = f"{text}\0{program.table.spec}\0{told}"
    name = f"{program.name}_{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    known = sys.modules.get(name)
    if isinstance(known, TextModule):
        return known
    check_text(text)
    module = TextModule(name, text, program)
    filename = f"{name}.py"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec"), module.__dict__)  # noqa: S102 - the checked text of emit, nothing else
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == name:
            copyreg.pickle(value, _reduce)
    sys.modules[name] = module
    return module


def _reduce(instance: object) -> tuple[Any, ...]:
    """An instance as pickle would have it, its class found through its module and not through an import."""
    found = instance.__reduce_ex__(2)
    assert isinstance(found, tuple)
    _, (cls, *arguments), *state = found
    return (_new, (sys.modules[cls.__module__], cls.__name__, *arguments), *state)


def _new(module: TextModule, name: str, *arguments: Any) -> Any:
    cls = getattr(module, name)
    return cls.__new__(cls, *arguments)


def convert(model: nn.Module, program: Program, dtype: torch.dtype | None) -> None:
    """Give the parameters that follow the module's dtype that dtype; others keep the spec's."""
    if dtype is not None:
        model.to(dtype)
        for parameter in program.stored:
            if parameter.dtype != "float":
                tensor = model.get_parameter(parameter.name)
                tensor.data = tensor.data.to(getattr(torch, parameter.dtype))


_FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.tensor})


class _Unallocated(TorchFunctionMode):
    """Inside, modules are made on the meta device, without the default initialisation, which costs time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func in _FACTORIES and kwargs.get("device") is None:
            return func(*args, **{**kwargs, "device": "meta"})
        return func(*args, **kwargs)
