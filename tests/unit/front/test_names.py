"""The lists of names that need no torch are those that torch and the backend have."""

from __future__ import annotations

import keyword
import subprocess
import sys

import pytest

from compiler.backend.carried import functions
from compiler.syntax.names import MODULE_ATTRIBUTES, TEXT_NAMES, is_identifier


def test_module_attributes() -> None:
    # Other libraries add to nn.Module where they are imported.
    print_them = "from torch import nn; print(*(n for n in dir(nn.Module()) if n[0] != '_'))"
    done = subprocess.run([sys.executable, "-c", print_them], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == MODULE_ATTRIBUTES


def test_names_of_the_text() -> None:
    assert set(functions()) <= TEXT_NAMES, "a function of the text is a name that no argument may have"


@pytest.mark.parametrize(
    "name", [*keyword.kwlist, "", "_", "_x", "2x", "a-b", "a b", "a.b", "é", "x\n", "x" * 65, "𝐱"]
)
def test_no_identifier(name: str) -> None:
    assert not is_identifier(name)


@pytest.mark.parametrize("name", ["x", "X1", "a_b", "match", "x" * 64])
def test_identifier(name: str) -> None:
    assert is_identifier(name)
