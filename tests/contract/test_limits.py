"""What the source of the two packages may hold: sizes, signatures, and nothing that runs what a file says."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.contract.clone import ROOT, files

SOURCES = [n for n in files() if n.endswith(".py") and n.startswith(("compiler/", "runtime/"))]
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 400, 60, 8

#: Functions that take any keyword.
FOREIGN = {("compiler/ir/code.py", "code")}  # names the holes of a template
#: What people may ask for, each by name.
ASKED = {
    ("runtime/generation/api.py", "generate"),
    ("runtime/generation/api.py", "stream"),
    ("runtime/loading.py", "load"),
    ("runtime/text/streaming.py", "stream_text"),
}
#: Text that models carry; how many inputs a tensor function has is the model's affair.
CARRIED = "compiler/backend/library.py"

_NEVER = {"eval", "exec", "__import__", "breakpoint"}
_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "subprocess", "ctypes", "torch.jit", "torch.hub"}
_ATTRIBUTES = {("torch", "load"), ("torch", "jit"), ("torch", "hub"), ("yaml", "load"), ("os", "system")}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


def functions(name: str) -> Iterator[Function]:
    return (n for n in ast.walk(tree(name)) if isinstance(n, Function))


def parameters(function: Function) -> int:
    arguments = function.args
    return len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)


def test_there_are_sources() -> None:
    assert len(SOURCES) > 100


@pytest.mark.parametrize("name", SOURCES)
def test_sizes(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8").count("\n") <= MAX_FILE
    long = [f.name for f in functions(name) if (f.end_lineno or 0) - f.lineno + 1 > MAX_FUNCTION]
    assert long == []


@pytest.mark.parametrize("name", SOURCES)
def test_signatures(name: str) -> None:
    limit = MAX_PARAMETERS if name != CARRIED else 10
    assert [f.name for f in functions(name) if parameters(f) > limit and (name, f.name) not in ASKED] == []
    plumbing = [f.name for f in functions(name) if f.args.kwarg and (name, f.name) not in FOREIGN]
    assert plumbing == []


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_runs_what_a_file_says(name: str) -> None:
    assert list(dangers(tree(name))) == (["exec"] if name == "compiler/backend/build.py" else [])


def test_no_exception_is_stale() -> None:
    assert {(n, f.name) for n in SOURCES for f in functions(n) if f.args.kwarg} == FOREIGN


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "exec('1')",
        "import pickle",
        "from pickle import loads",
        "import torch.jit",
        "torch.load(p)",
        "x = torch.jit",
        "from torch import load",
        "yaml.load(t)",
        "builtins.eval('1')",
        "__import__('os')",
    ],
)
def test_dangers_are_seen(text: str) -> None:
    assert list(dangers(ast.parse(text)))


def dangers(module: ast.Module) -> Iterator[str]:
    """Calls and imports by which a file could come to be executed."""
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in _NEVER:
                yield name
            case ast.Attribute(value=ast.Name(id="builtins"), attr=name):
                yield name
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if (owner, name) in _ATTRIBUTES:
                yield f"{owner}.{name}"
            case ast.Import(names=names):
                yield from (n.name for n in names if n.name in _MODULES)
            case ast.ImportFrom(module=origin, names=names):
                yield from (origin or "" for _ in names[:1] if origin in _MODULES)
                yield from (f"{origin}.{n.name}" for n in names if (origin, n.name) in _ATTRIBUTES)
