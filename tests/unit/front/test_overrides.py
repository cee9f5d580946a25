"""Settings from outside: Python's values and the command line's text arrive as the same located YAML."""

from __future__ import annotations

import math
from typing import Any

import pytest

import compiler
from compiler.diagnostics.diagnostic import CompileError
from compiler.passes.overrides import parse_overrides, parse_settings, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=3", 3),
        ("a=1e-5", 1e-5),
        ("a=no", "no"),
        ("a=true", True),
        ("a=null", None),
        ("a=", None),
        ("a='3'", "3"),
        ("a==dim / 2", "=dim / 2"),
        ("a==max(1, 2)", "=max(1, 2)"),
        ("a=[1, =x]", [1, "=x"]),
        ("a={use: mlp, with: {hidden: 3}}", {"use": "mlp", "with": {"hidden": 3}}),
        ("a.b.c=3", 3),
    ],
)
def test_settings(text: str, expected: object) -> None:
    (found,) = parse_settings([text]).values()
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    "value",
    [3, 1e-5, -0.0, math.inf, -math.inf, True, None, "no", "a: b", "# x", "é\n", [1, [2]], {"use": "x"}],
)
def test_python_values_survive(value: Any) -> None:
    assert plain(parse_overrides({"a.b": value}))["a.b"] == value


def test_not_a_number_survives() -> None:
    assert math.isnan(plain(parse_overrides({"a": math.nan}))["a"])


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a b", "a: b", "[a]", "é", "a\n", 3])
def test_paths(path: Any) -> None:
    with pytest.raises(CompileError, match="no path of a param"):
        parse_overrides({path: 1})


def _endless() -> list[Any]:
    out: list[Any] = []
    out.append(out)
    return out


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", _endless(), 1j])
def test_values_that_are_no_data(value: Any) -> None:
    with pytest.raises(CompileError, match="cannot hold"):
        parse_overrides({"a": value})


@pytest.mark.parametrize("settings", [["a"], ["=3"], ["a=1", "a=2"], ["a=[1"], ["a=&x 3"], ["a b=1"]])
def test_refused(settings: list[str]) -> None:
    with pytest.raises(CompileError):
        parse_settings(settings)


def test_both_ways_agree() -> None:
    text = parse_settings(["dim=24", "heads=3", "depth=2", "hidden==2 * dim"])
    assert (
        compiler.compile("gpt2", set=text).table
        == compiler.compile("gpt2", set={"dim": 24, "heads": 3, "depth": 2, "hidden": "=2 * dim"}).table
    )


def test_settings_win_over_variants() -> None:
    table = compiler.compile("gpt2:medium", set={"depth": 2, "dim": 32}).table
    assert (table.values["depth"], table.values["dim"], table.values["heads"]) == (2, 32, 16)


def test_places_inside_block_values() -> None:
    default = compiler.compile("llama", set={"depth": 1}).table
    changed = compiler.compile("llama", set={"depth": 1, "rope.base": 5.0})
    assert changed.table == default, "no tensor depends on it"
    assert compiler.emit("llama", set={"depth": 1, "rope.base": 5.0}) != compiler.emit(
        "llama", set={"depth": 1}
    )
