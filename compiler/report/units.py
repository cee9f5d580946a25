"""Numbers as people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from compiler.ir.dims import Dim

_STEPS = ((10**18, "E"), (10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def exact(value: int) -> str:
    """All digits, in groups of three."""
    return f"{value:,}"


def short(value: int) -> str:
    """Three digits and a letter: `85.1M`."""
    for size, letter in _STEPS:
        if abs(value) >= 0.9995 * size:  # what would be written 1000k is 1M
            return f"{value / size:.3g}{letter}"
    return str(value)


def nbytes(value: int) -> str:
    """`475 MiB`."""
    for size, unit in _BINARY:
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 999.5 * size else f"{value / size:.0f} {unit}"
    return f"{value} bytes"


def one_line(text: str) -> str:
    """A text of the user's in a line that cannot move a terminal."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in text).split())


def closed_form(size: Dim, number: Callable[[int], str] = exact) -> str:
    """A polynomial with its coefficients first: `170,044,416 B T + 46,656 B K T`."""
    if not size.terms:
        return "0"
    out = ""
    for monomial, coefficient in sorted(size.terms, key=lambda term: (-len(term[0]), term[0])):
        powers = [s if count == 1 else f"{s}^{count}" for s, count in Counter(monomial).items()]
        sign = " - " if coefficient < 0 else " + "
        out += (sign if out or coefficient < 0 else "") + " ".join([number(abs(coefficient)), *powers])
    return out.removeprefix(" ")
