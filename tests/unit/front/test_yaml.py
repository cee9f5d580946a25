"""YAML 1.2 with places: the typing table of the core schema, what is refused, and where things stand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from compiler.diagnostics.diagnostic import CompileError, Diagnostic
from compiler.source.text import SourceFile
from compiler.syntax.yaml import MAX_DEPTH, Located, Map, Seq, parse_yaml


def parse(text: str) -> Map:
    (document,) = parse_yaml(SourceFile("t.yaml", text))
    return document


def scalar(text: str) -> Located:
    found = next(iter(parse(f"a: {text}\n").values()))
    assert isinstance(found, Located)
    return found


def fault(text: str) -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        parse(text)
    (found,) = caught.value.diagnostics
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-5", 1e-5),
        ("1e5", 1e5),
        ("1.", 1.0),
        (".5", 0.5),
        ("+3", 3),
        ("-0", 0),
        ("0017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("12:30", "12:30"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("NULL", None),
        ("nULL", "nULL"),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        ("e5", "e5"),
        ('"1"', "1"),
        ("'null'", "null"),
        ('"\\x41"', "A"),
        ("=a + b", "=a + b"),
    ],
)
def test_typing(text: str, expected: object) -> None:
    found = scalar(text).value
    assert found == expected and type(found) is type(expected)


def test_not_a_number() -> None:
    found = scalar(".nan").value
    assert isinstance(found, float) and math.isnan(found)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", "yaml-duplicate-key", 3, 1),
        ("a: {b: 1, b: 2}\n", "yaml-duplicate-key", 1, 11),
        ('1: a\n"1": b\n', "yaml-duplicate-key", 2, 1),
        ("a: !!int 3\n", "yaml-tag", 1, 4),
        ("a: !custom [1]\n", "yaml-tag", 1, 4),
        ("a: &x 3\n", "yaml-alias", 1, 4),
        ("a: *x\n", "yaml-alias", 1, 4),
        ("<<: {a: 1}\n", "yaml-alias", 1, 1),
        ("? [a]\n: 1\n", "yaml-key", 1, 3),
        ("a: [1\n", "yaml-syntax", 1, 6),
        ("a: b: c\n", "yaml-syntax", 1, 5),
        ("a: 'x\n", "yaml-syntax", 1, 6),
        ("a:\n\tb: 1\n", "yaml-syntax", 2, 1),
        ("%YAML 9.9\n---\na: 1\n", "yaml-syntax", 1, 1),
        ("", "yaml-syntax", 1, 1),
        ("a: 1\n---\n- 1\n", "yaml-syntax", 3, 1),
        ("a: 1\u0085b: 2\n", "yaml-syntax", 1, 5),
        ("a: 1\n\u2028b: 2\n", "yaml-syntax", 2, 1),
        ("a: x\ufeffy\n", "yaml-syntax", 1, 5),
        ("a: \x07\n", "yaml-syntax", 1, 4),
        ("a:\r\n  b: \x1b[31m\r\n", "yaml-syntax", 2, 6),
        ("a: " + "9" * 65 + "\n", "yaml-limit", 1, 4),
        ("a: 0x" + "f" * 65 + "\n", "yaml-limit", 1, 4),
        ("a: {x: =f(1, 2)}\n", "expr-syntax", 1, 8),
    ],
)
def test_refused(text: str, code: str, line: int, column: int) -> None:
    found = fault(text)
    assert found.span is not None
    assert (found.code, found.span.line, found.span.column) == (code, line, column)


def test_depth() -> None:
    assert isinstance(parse("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)), Map)
    assert fault("a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH).code == "yaml-limit"
    assert fault("a: " + "[" * 20_000).code == "yaml-limit"


def test_size() -> None:
    assert fault("# " + "x" * (5 << 20)).code == "yaml-limit"


def test_a_whole_expression_in_a_flow_map_is_no_fault() -> None:
    assert parse("a: {x: =f(1), y: 2}\n")["a"]["x"].value == "=f(1)"  # type: ignore[index]
    assert parse('a: {x: "=f(1, 2)", y: 2}\n')["a"]["x"].value == "=f(1, 2)"  # type: ignore[index]
    assert parse("a: =f(1, 2)\n")["a"].value == "=f(1, 2)"  # type: ignore[index]


def test_places() -> None:
    document = parse("a:\r\n  bé: [10, 'x y']\r\n")
    inner = document["a"]  # type: ignore[index]
    (key,) = inner
    numbers = inner[key]
    assert isinstance(numbers, Seq)
    assert (key, str(key.span)) == ("bé", "t.yaml:2:3")
    assert [str(n.span) for n in numbers] == ["t.yaml:2:8", "t.yaml:2:12"]
    assert numbers[1].part(2, 3).column == 15


def test_a_byte_order_mark_at_the_beginning_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    (document,) = parse_yaml(SourceFile.read(path))
    assert list(document) == ["a"]


def test_documents() -> None:
    found = parse_yaml(SourceFile("t.yaml", "a: 1\n---\nb: 2\n...\n---\nc: 3\n"))
    assert [list(d) for d in found] == [["a"], ["b"], ["c"]]
