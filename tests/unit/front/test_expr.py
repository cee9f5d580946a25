"""The expression grammar: precedence against Python, every function, limits, places of faults."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.ir.dims import symbol
from compiler.ir.values import Value, ValueFault, evaluate, normal
from compiler.syntax.expr import FUNCTIONS, MAX_DEPTH, MAX_LENGTH, ExprError, Name, free_names, parse_expr


def value(text: str, **names: Value) -> Value:
    def lookup(name: Name) -> Value:
        return names[name.name]

    return evaluate(parse_expr(text), lookup)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("2 ** -1", Fraction(1, 2)),
        ("--3", 3),
        ("---3", -3),
        ("10 - 4 - 3", 3),
        ("24 / 4 / 3", 2),
        ("770 / 12", Fraction(385, 6)),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("-7 % 3", 2),
        ("6 / 4 * 2", 3),
        ("1 < 2 and 3 >= 3", True),
        ("not 1 == 2", True),
        ("not true or true", True),
        ("true or false and false", True),
        ("1 if false else 2 if false else 3", 3),
        ("[1, 2, 3][-1]", 3),
        ("[[1, 2], [3]][0][1]", 2),
        ("'a' + 'b' == \"ab\"", True),
        ("null == null", True),
        ("1 == true", False),
        ("1.5e1", 15.0),
        (".5", 0.5),
        ("2.", 2.0),
    ],
)
def test_precedence(text: str, expected: Value) -> None:
    found = value(text)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "min(3, 1, 2)": 1,
        "min(3)": 3,
        "max(1 / 2, 1 / 3)": Fraction(1, 2),
        "abs(-3)": 3,
        "ceil_to(2048 * 8 / 3, 256)": 5632,
        "floor(-3 / 2)": -2,
        "ceil(-3 / 2)": -1,
        "int(-3 / 2)": -1,
        "sign(-0.5)": -1,
        "clamp(9, 0, 5)": 5,
        "log(exp(2))": 2.0,
        "exp(0)": 1.0,
        "sqrt(9)": 3.0,
        "sin(0)": 0.0,
        "cos(0)": 1.0,
        "tanh(0)": 0.0,
        "sigmoid(0)": 0.5,
        "len([1, 2])": 2,
        "cycle([1, 2], 5)": (1, 2, 1, 2, 1),
    }.items(),
)
def test_functions(text: str, expected: Value) -> None:
    assert value(text) == pytest.approx(expected) if isinstance(expected, float) else value(text) == expected


def test_every_function_is_tried() -> None:
    tried = {"min", "max", "abs", "ceil_to", "floor", "ceil", "int", "sign", "clamp", "log", "exp", "sqrt"}
    assert set(FUNCTIONS) == tried | {"sin", "cos", "tanh", "sigmoid", "len", "present", "cycle"}


_NUMBERS = st.integers(0, 30).map(str)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(" ".join)
    return st.one_of(binary, inner.map("({})".format), inner.map("-{}".format))


@given(st.recursive(_NUMBERS, _compound, max_leaves=12))
def test_integers_agree_with_python(text: str) -> None:
    try:
        expected = eval(text)  # noqa: S307 - text that this test made
    except ZeroDivisionError:
        with pytest.raises(ValueFault):
            value(text)
        return
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "start", "end", "message"),
    [
        ("1 +", 3, 4, "end of the expression"),
        ("(1", 2, 3, "`)`"),
        ("1 2", 2, 3, "`2`"),
        ("foo(1)", 0, 3, "no function `foo`"),
        ("a + clamp(1)", 4, 9, "3 arguments"),
        ("a ? b", 2, 3, "`?`"),
        ("a = 1", 2, 3, "`=`"),
        ("if", 0, 2, "`if`"),
        ("1 if 2", 6, 7, "`else`"),
        ("a.b", 1, 2, "`.`"),
        ("'open", 0, 1, "`'`"),
        ("", 0, 1, "end of the expression"),
        ("1 < 2 < 3", 6, 7, "`<`"),
    ],
)
def test_faults_have_places(text: str, start: int, end: int, message: str) -> None:
    with pytest.raises(ExprError) as caught:
        parse_expr(text)
    assert (caught.value.start, caught.value.end) == (start, end)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1),
        "1 ** " * (MAX_DEPTH + 1) + "1",
        "1+" * MAX_LENGTH + "1",
    ],
)
def test_limits(text: str) -> None:
    with pytest.raises(ExprError):
        parse_expr(text)


@pytest.mark.parametrize("text", ["not " * 90 + "true", "-" * 300 + "1", "1" + " if true else 1" * 20])
def test_long_chains_do_not_exhaust_the_stack(text: str) -> None:
    assert value(text) in (True, 1)


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0",
        "1 // 0",
        "1 % 0",
        "2 ** 4097",
        "10 ** 30",
        "log(0)",
        "sqrt(-1)",
        "(-8) ** (1 / 3)",
        "exp(1000)",
    ],
)
def test_no_value(text: str) -> None:
    with pytest.raises(ValueFault):
        value(text)


def test_fractions_are_bounded() -> None:
    with pytest.raises(ValueFault, match="larger than"):
        value("((1 / 3) ** 4096) ** 4096")


def test_branches_not_taken_are_not_computed() -> None:
    assert value("1 if true else 1 / 0") == 1
    assert value("false and 1 / 0 == 1") is False


def test_symbolic_sizes() -> None:
    length = symbol("T")
    assert value("2 * T / 2", T=length) == length
    assert value("T - T", T=length) == 0
    assert value("T == T + 1", T=length) is False
    for text in (
        "T / 2",
        "T < 3",
        "T == 3",
        "T // 2 == 0",
        "T / 0",
        "T // 0",
        "T + 0.5",
        "min(T, 3)",
        "2 ** T",
    ):
        with pytest.raises(ValueFault):
            value(text, T=length)


def test_free_names() -> None:
    assert free_names(parse_expr("a + max(b, [c, 1][d]) if not e else -f ** g")) == set("abcdefg")


@given(st.fractions(-(10**6), 10**6, max_denominator=50), st.integers(-20, 20))
def test_normal_form(number: Fraction, whole: int) -> None:
    assert isinstance(normal(Fraction(whole)), int)
    assert normal(number) == number


def test_transcendentals_are_those_of_math() -> None:
    assert value("log(10000) / 2") == math.log(10000) / 2
