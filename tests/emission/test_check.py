"""check_text takes what is emitted and refuses what is planted in it."""

from __future__ import annotations

import ast

import pytest

import compiler
from compiler.backend.allowed import EINOPS
from compiler.backend.carried import functions, used_names
from compiler.backend.check import UnsafeText, check_text
from compiler.syntax.names import TEXT_NAMES
from tests.emission.models import CASES, Case, name

STATEMENTS = (
    "__import__('os').system('x')",
    "import os",
    "from torch import serialization",
    "import torch.utils.cpp_extension",
    "from einops import layers",
    "from . import x",
    "exec('x')",
    "eval('1')",
    "open('f', 'w')",
    "getattr(torch, 'load')('f')",
    "globals()",
    "print(1)",
    "torch.load('f')",
    "torch.save(x, 'f')",
    "torch.hub.load('a', 'b')",
    "torch.os.system('x')",
    "torch.serialization.os.system('x')",
    "nn.Module.load_state_dict(x)",
    "nn.modules.module.torch.load('f')",
    "F.torch.load('f')",
    "math.__loader__",
    "x.tofile('f')",
    "x.numpy().tofile('f')",
    "x.__class__.__bases__",
    "x.storage()",
    "self.__class__",
    "self.register_buffer('a', x)",
    "self.load_state_dict(x)",
    "self.eval().x()",
    "f = torch.load",
    "layer = x.tofile; layer('f')",
    "x('f')",
    "(lambda: 1)()",
    "lambda: 1",
    "[y for y in ()] if (z := 1) else 0",
    "yield 1",
    "await x",
    "del x",
    "global x",
    "nonlocal x",
    "assert x",
    "with x: pass",
    "while True: pass",
    "try:\n            pass\n        except ValueError:\n            pass",
    "async def f(): pass",
    "def f(): return 1",
    "class C: pass",
    "raise SystemExit",
    "raise x",
    "torch.load = x",
    "x.y = 1",
    "self.__dict__ = {}",
    "self.a.b = 1",
    "torch = x",
    "nn = x",
    "super = x",
    "range = x",
    "attention = x",
    "unknown",
    "unknown(x)",
    "[eval for eval in (1,)]",
    "{**x}",
    "{1: x for y in x}",
    "{1, 2}",
    "x: int = 1",
    "x += 1",
    "match x:\n            case 1: pass",
)

TEXT = '''"""Doc."""

import torch
import torch.nn.functional as F
from torch import nn


def attention(q):
    return q


class Root(nn.Module):
    """Doc."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)

    def forward(self, x):
        {statement}
        return attention(self.a(x))
'''


@pytest.mark.parametrize("case", CASES, ids=name)
@pytest.mark.parametrize("style", ["views", "einops"])
def test_every_text_passes(case: Case, style: str) -> None:
    check_text(compiler.emit(case.source, set=case.set, style=style))


def test_the_frame_alone_passes() -> None:
    check_text(TEXT.format(statement="y = self.a(x)"))


@pytest.mark.parametrize("statement", STATEMENTS)
def test_planted_statements_are_refused(statement: str) -> None:
    with pytest.raises(UnsafeText, match=r"line \d+|no Python"):
        check_text(TEXT.format(statement=statement))


HEADS = (
    ("class Root(nn.Module):", "class Root(nn.Embedding):"),
    ("class Root(nn.Module):", "class Root(nn.Module, metaclass=type):"),
    ("class Root(nn.Module):", "@torch.no_grad()\nclass Root(nn.Module):"),
    ("class Root(nn.Module):", "class torch(nn.Module):"),
    ("class Root(nn.Module):", "class attention(nn.Module):"),
    ("class Root(nn.Module):", "class ValueError(nn.Module):"),
    ("def forward(self, x):", "def forward(self, x=open('f')):"),
    ("def forward(self, x):", "def forward(self, x: open('f')):"),
    ("def forward(self, x):", "def forward(self, x) -> open('f'):"),
    ("def forward(self, x):", "def forward(self, x, torch):"),
    ("def forward(self, x):", "def __getattr__(self, x):"),
    ("def forward(self, x):", "def __reduce__(self, x):"),
    ("    def forward(self, x):", "    @property\n    def forward(self, x):"),
    ("    def forward(self, x):", "    x = open('f')\n\n    def forward(self, x):"),
    ("def attention(q):", "def __import__(q):"),
    ("def attention(q):", "def open(q):"),
    ("import torch\n", "import torch\nopen('f')\n"),
    ("import torch\n", "import torch as os\n"),
    ("import torch\n", "x = 1\n"),
    ("from torch import nn", "from torch import nn, os"),
    ("return q", "return q\n\n\nprint(1)"),
)


@pytest.mark.parametrize("old, new", HEADS)
def test_planted_definitions_are_refused(old: str, new: str) -> None:
    plain = TEXT.format(statement="y = x")
    assert old in plain
    with pytest.raises(UnsafeText):
        check_text(plain.replace(old, new, 1))


def test_a_builtin_is_reached_by_no_name_that_is_local_elsewhere() -> None:
    """An argument `eval` of one function does not make `eval` a local of another."""
    text = TEXT.format(statement="y = eval").replace("def attention(q):", "def attention(eval):")
    with pytest.raises(UnsafeText, match="eval"):
        check_text(text.replace("return q", "return eval"))


def test_names_of_the_library_are_reserved() -> None:
    """No local variable, argument or class of a text may hide what the text calls."""
    assert {n for n in functions() if n.islower()} <= TEXT_NAMES
    assert EINOPS.isdisjoint(functions())


@pytest.mark.parametrize("case", CASES, ids=name)
def test_names_are_read_as_the_syntax_tree_has_them(case: Case) -> None:
    text = compiler.emit(case.source, set=case.set, style="einops")
    read = {
        n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }
    found = used_names(text)
    assert read <= found
    trusted = {*functions(), *EINOPS, "math", "F", "torch", "nn"}
    assert found & trusted == read & trusted | found & {"torch"}


def test_names_in_words_do_not_count() -> None:
    text = (
        'def f(x):\n    """F math rearrange(x)"""\n    # F\n    return g(x, F=1, y="math", z=\'\').reduce\n'
    )
    assert used_names(text) & {"F", "math", "rearrange", "reduce", "g", "x"} == {"g", "x"}
