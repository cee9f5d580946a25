"""Symbolic sizes: the laws of a ring, and agreement with whole numbers."""

from __future__ import annotations

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from compiler.ir.dims import Dim, Proof, dim, symbol

SYMBOLS = ("B", "S", "T")
_MONOMIALS = st.lists(st.sampled_from(SYMBOLS), max_size=3).map(
    lambda names: reduce(Dim.__mul__, map(symbol, names), dim(1))
)
DIMS = st.lists(st.tuples(st.integers(-9, 9), _MONOMIALS), max_size=4).map(
    lambda terms: reduce(Dim.__add__, (dim(c) * m for c, m in terms), dim(0))
)
VALUES = st.fixed_dictionaries({name: st.integers(1, 12) for name in SYMBOLS})


def at(size: Dim, values: dict[str, int]) -> int:
    found = size.substitute({n: dim(v) for n, v in values.items()}).constant
    assert found is not None
    return found


@given(DIMS, DIMS, DIMS)
def test_ring(a: Dim, b: Dim, c: Dim) -> None:
    assert a + b == b + a and a * b == b * a
    assert (a + b) + c == a + (b + c) and (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a + dim(0) == a and a * dim(1) == a and a * dim(0) == dim(0)
    assert a - a == dim(0) and a + -a == dim(0)


@given(DIMS, DIMS, VALUES)
def test_substitution_agrees_with_integers(a: Dim, b: Dim, values: dict[str, int]) -> None:
    assert at(a + b, values) == at(a, values) + at(b, values)
    assert at(a * b, values) == at(a, values) * at(b, values)
    assert at(a - b, values) == at(a, values) - at(b, values)


@given(DIMS, VALUES)
def test_the_spelling_is_python(a: Dim, values: dict[str, int]) -> None:
    assert eval(str(a), dict(values)) == at(a, values)  # noqa: S307 - text that this test made


@given(DIMS, st.integers(1, 9), _MONOMIALS)
def test_exact_division_undoes_multiplication(a: Dim, factor: int, monomial: Dim) -> None:
    by = dim(factor) * monomial
    assert (a * by).exact_div(by) == a


@given(DIMS, DIMS, VALUES)
def test_a_quotient_is_exact(a: Dim, b: Dim, values: dict[str, int]) -> None:
    quotient = a.exact_div(b)
    if quotient is not None:
        assert quotient * b == a
        assert at(quotient, values) * at(b, values) == at(a, values)


@given(DIMS, DIMS, VALUES)
def test_proofs_hold(a: Dim, b: Dim, values: dict[str, int]) -> None:
    proof = a.compare(b)
    if proof is Proof.PROVED:
        assert at(a, values) == at(b, values)
    elif proof is Proof.REFUTED:
        assert at(a, values) != at(b, values)
    assert (proof is Proof.PROVED) == (a == b)


def test_nothing_is_divided_by_zero() -> None:
    assert dim(0).exact_div(dim(0)) is None
    assert symbol("T").exact_div(dim(0)) is None


def test_a_rounded_quotient_is_known_only_to_be_itself() -> None:
    half = symbol("T").floor_div(dim(2))
    assert half.compare(symbol("T").floor_div(dim(2))) is Proof.PROVED
    assert half.compare(dim(0)) is Proof.UNKNOWN, "T may be 1"
    assert (half + symbol("B")).compare(dim(0)) is Proof.UNKNOWN
    assert dim(7).floor_div(dim(2)) == dim(3)
    assert (dim(4) * symbol("T")).floor_div(dim(2)) == dim(2) * symbol("T")


def test_refuted() -> None:
    assert symbol("T").compare(symbol("T") + dim(1)) is Proof.REFUTED
    assert (symbol("B") * symbol("T") + dim(1)).compare(dim(0)) is Proof.REFUTED
    assert symbol("T").compare(symbol("S")) is Proof.UNKNOWN
    assert symbol("T").compare(dim(3)) is Proof.UNKNOWN
