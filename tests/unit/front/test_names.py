"""The lists of names that need no torch are those that torch and the backend have."""

from __future__ import annotations

import keyword

import pytest
from torch import nn

from compiler.backend.carried import functions
from compiler.syntax.names import MODULE_ATTRIBUTES, TEXT_NAMES, is_identifier


def test_module_attributes() -> None:
    assert {name for name in dir(nn.Module()) if not name.startswith("_")} == MODULE_ATTRIBUTES


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
