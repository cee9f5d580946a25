"""Symbolic sizes: integer polynomials in normal form, so that equality is a comparison of two values.

Symbols are the free axes of a spec's inputs (`B`, `T`), all >= 1. An operation that leaves the polynomials
(`T // 2`) yields an opaque symbol spelled by its text, equal only to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import reduce

Monomial = tuple[str, ...]  # sorted symbols, repeated for powers: T*T*B is ("B", "T", "T")


class Proof(Enum):
    """What is known of a claim about dims."""

    PROVED = "proved"
    REFUTED = "refuted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Dim:
    """A polynomial: sorted ((monomial, coefficient), ...) without zero coefficients."""

    terms: tuple[tuple[Monomial, int], ...]

    @property
    def constant(self) -> int | None:
        """The value if no symbol is left."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and self.terms[0][0] == ():
            return self.terms[0][1]
        return None

    @property
    def symbols(self) -> frozenset[str]:
        """The names in the polynomial."""
        return frozenset(s for monomial, _ in self.terms for s in monomial)

    def __add__(self, other: Dim) -> Dim:
        return _normal([*self.terms, *other.terms])

    def __neg__(self) -> Dim:
        return Dim(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Dim) -> Dim:
        return self + (-other)

    def __mul__(self, other: Dim) -> Dim:
        return _normal((tuple(sorted(m + n)), c * d) for m, c in self.terms for n, d in other.terms)

    def exact_div(self, other: Dim) -> Dim | None:
        """The quotient when `other` is one monomial that divides every term, else None."""
        if len(other.terms) != 1:
            return dim(1) if self == other and self.terms else None
        ((by, factor),) = other.terms
        out: list[tuple[Monomial, int]] = []
        for monomial, coefficient in self.terms:
            rest = list(monomial)
            for symbol in by:
                if symbol not in rest:
                    return None
                rest.remove(symbol)
            if coefficient % factor:
                return None
            out.append((tuple(rest), coefficient // factor))
        return _normal(out)

    def floor_div(self, other: Dim) -> Dim:
        """The quotient rounded down; a symbol of its own where it is not exact."""
        exact = self.exact_div(other)
        if exact is not None:
            return exact
        if self.constant is not None and other.constant:
            return dim(self.constant // other.constant)
        above = f"({self})" if len(self.terms) > 1 else str(self)
        below = f"({other})" if " " in str(other) else str(other)
        return symbol(f"({above} // {below})")

    def compare(self, other: Dim) -> Proof:
        """Whether two sizes are equal for all, for no, or for some unproved values of the symbols (>= 1)."""
        difference = self - other
        if difference.constant is not None:
            return Proof.PROVED if difference.constant == 0 else Proof.REFUTED
        coefficients = [c for _, c in difference.terms]
        if not all(s.isidentifier() for s in difference.symbols):
            return Proof.UNKNOWN  # `T // 2` may be 0, `(T - 9) // 2` less
        if all(c > 0 for c in coefficients) or all(c < 0 for c in coefficients):
            return Proof.REFUTED
        return Proof.UNKNOWN

    def substitute(self, values: Mapping[str, Dim]) -> Dim:
        """The polynomial with symbols replaced."""
        total = dim(0)
        for monomial, coefficient in self.terms:
            factors = (values.get(s, symbol(s)) for s in monomial)
            total = total + reduce(Dim.__mul__, factors, dim(coefficient))
        return total

    def spell(self, name: Callable[[str], str] = str) -> str:
        """The polynomial as an expression of Python, symbols spelled by `name`."""
        if not self.terms:
            return "0"
        out = ""
        for monomial, coefficient in sorted(self.terms, key=lambda t: (-len(t[0]), t[0])):
            factors = [name(s) for s in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            sign = "-" if coefficient < 0 else "+"
            text = " * ".join(factors)
            out = f"{out} {sign} {text}" if out else (f"-{text}" if sign == "-" else text)
        return out

    def __str__(self) -> str:
        return self.spell()


def dim(value: int) -> Dim:
    """A number as a dim."""
    return Dim((((), value),)) if value else Dim(())


def symbol(name: str) -> Dim:
    """A name as a dim."""
    return Dim((((name,), 1),))


def product(dims: Iterable[Dim]) -> Dim:
    """The product, 1 for none."""
    return reduce(Dim.__mul__, dims, dim(1))


def _normal(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    collected: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        collected[monomial] = collected.get(monomial, 0) + coefficient
    return Dim(tuple(sorted((m, c) for m, c in collected.items() if c)))
