"""Random expression trees over the whole grammar, with an interpreter in plain Python numbers.

The interpreter follows the rules that the language states: whole numbers stay exact, literals take the dtype
of what they meet, whole-number tensors become float32 in true division, in transcendentals and where they
meet a fraction. float32 values are rounded after each step, as the hardware does. What jumps (comparisons,
floors, remainders) is applied to values that both sides represent exactly.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st

Scalar = int | float | bool | Fraction
Environment = Mapping[str, Scalar]

DTYPES = {"n": "int", "m": "int", "x": "float", "z": "float", "t": "bool", "u": "bool"}
WHOLE, FRACTION = "whole literal", "fractional literal"


@dataclass(frozen=True)
class Tree:
    """An expression: its text, the kind that the language gives it, and its value."""

    text: str
    kind: str
    value: Callable[[Environment], Scalar]

    @property
    def constant(self) -> bool:
        return self.kind in (WHOLE, FRACTION)


def join(*kinds: str) -> str | None:
    """The kind in which numbers meet; None where the language refuses."""
    found = set(kinds)
    if {"float", "float32"} <= found:
        return None
    for kind in ("float", "float32"):
        if kind in found:
            return kind
    if "int" in found:
        return "float32" if FRACTION in found else "int"
    return FRACTION if FRACTION in found else WHOLE


def rounded(kind: str, value: Scalar) -> Scalar:
    """A number as its dtype holds it."""
    if kind == "float32":
        return struct.unpack("f", struct.pack("f", float(value)))[0]
    return float(value) if kind == "float" else value


def combined(text: str, kind: str, parts: list[Tree], of: Callable[..., Scalar]) -> Tree:
    def value(environment: Environment) -> Scalar:
        return rounded(kind, of(*(rounded(kind, p.value(environment)) for p in parts)))

    return Tree(text, kind, value)


ARITHMETIC: dict[str, Callable[..., Scalar]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
COMPARE: dict[str, Callable[..., bool]] = {
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip
SMOOTH: dict[str, Callable[[float], float]] = {
    "sin": math.sin, "cos": math.cos, "tanh": math.tanh, "exp": math.exp,
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
}  # fmt: skip


@st.composite
def leaf(draw: st.DrawFn) -> Tree:
    name = draw(st.sampled_from(["n", "m", "x", "z", "x", "z", "", "."]))
    if name == "":
        number = draw(st.integers(0, 4))
        return Tree(str(number), WHOLE, lambda _: number)
    if name == ".":
        half = draw(st.sampled_from([0.5, 1.5, 2.5]))
        return Tree(str(half), FRACTION, lambda _: half)
    return Tree(name, DTYPES[name], lambda env: env[name])


@st.composite
def number(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    """A tree whose value is a number."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(leaf())
    made = draw(st.sampled_from(EXACT if exact else [*EXACT, *SMOOTHER]))
    return draw(MAKERS[made](depth - 1, exact))


@st.composite
def arithmetic(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a, b, op = draw(number(depth, exact)), draw(number(depth, exact)), draw(st.sampled_from("+-*"))
    kind = join(a.kind, b.kind)
    return a if kind is None else combined(f"({a.text} {op} {b.text})", kind, [a, b], ARITHMETIC[op])


@st.composite
def negative(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a = draw(number(depth, exact))
    return combined(f"(-{a.text})", a.kind, [a], lambda v: -v)


@st.composite
def extremum(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    parts = draw(st.lists(number(depth, exact), min_size=1, max_size=3))
    name = draw(st.sampled_from(["min", "max"]))
    kind = join(*(p.kind for p in parts))
    if kind is None or all(p.constant for p in parts):
        return parts[0]
    text = f"{name}({', '.join(p.text for p in parts)})"
    return combined(text, kind, parts, lambda *vs: min(vs) if name == "min" else max(vs))


@st.composite
def clamp(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    parts = [draw(number(depth, exact)) for _ in range(3)]
    inner = join(parts[0].kind, parts[1].kind)
    kind = inner and join(inner, parts[2].kind)
    if not kind or all(p.constant for p in parts):
        return parts[0]
    return combined(
        f"clamp({', '.join(p.text for p in parts)})", kind, parts, lambda v, low, high: min(max(v, low), high)
    )


@st.composite
def absolute(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a = draw(number(depth, exact))
    return combined(f"abs({a.text})", a.kind, [a], abs)


@st.composite
def step(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a, name = draw(number(depth, True)), draw(st.sampled_from(["floor", "ceil", "sign"]))
    of = {"floor": math.floor, "ceil": math.ceil, "sign": lambda v: (v > 0) - (v < 0)}[name]
    return a if a.constant else combined(f"{name}({a.text})", a.kind, [a], of)


@st.composite
def division(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    """`//` and `%`: Python's, towards minus infinity."""
    a, b, op = draw(number(depth, True)), draw(number(depth, True)), draw(st.sampled_from(["//", "%"]))
    kind = join(a.kind, b.kind)
    if kind is None or a.constant or b.constant:
        divisor = draw(st.integers(1, 5))
        kind, b = a.kind, Tree(str(divisor), WHOLE, lambda _: divisor)
    else:
        b = combined(f"(abs({b.text}) + 1)", b.kind, [b], lambda v: abs(v) + 1)
    of = (lambda v, w: v // w) if op == "//" else (lambda v, w: v % w)
    return a if a.constant else combined(f"({a.text} {op} {b.text})", kind, [a, b], of)


@st.composite
def choice(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a, b, test = draw(number(depth, exact)), draw(number(depth, exact)), draw(condition(depth))
    kind = join(a.kind, b.kind)
    if kind is None:
        return a
    kind = {WHOLE: "int", FRACTION: "float32"}.get(kind, kind)

    def value(env: Environment) -> Scalar:
        return rounded(kind, a.value(env) if test.value(env) else b.value(env))

    return Tree(f"({a.text} if {test.text} else {b.text})", kind, value)


@st.composite
def integer(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a = draw(condition(depth) | number(depth, True))
    return a if a.constant else Tree(f"int({a.text})", "int", lambda env: math.trunc(a.value(env)))


@st.composite
def power(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a, exponent = draw(number(min(depth, 1), exact)), draw(st.integers(0, 2))
    return a if a.constant else combined(f"({a.text} ** {exponent})", a.kind, [a], lambda v: v**exponent)


@st.composite
def true_division(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a, b = draw(number(depth, False)), draw(number(depth, False))
    kind = join(a.kind, b.kind)
    if kind is None or (a.constant and b.constant):
        return a
    kind = "float32" if kind == "int" else kind
    below = combined(f"(abs({b.text}) + 1)", b.kind, [b], lambda v: abs(v) + 1)
    return combined(f"({a.text} / {below.text})", kind, [a, below], lambda v, w: v / w)


@st.composite
def smooth(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a, name = draw(number(depth, False)), draw(st.sampled_from(sorted(SMOOTH)))
    if a.constant:
        return a
    kind = "float32" if a.kind == "int" else a.kind
    bounded = combined(f"clamp({a.text}, -3, 3)", a.kind, [a], lambda v: min(max(v, -3), 3))
    return combined(f"{name}({bounded.text})", kind, [bounded], SMOOTH[name])


@st.composite
def root(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a = draw(number(depth, False))
    kind = "float32" if a.kind == "int" else a.kind
    return (
        a if a.constant else combined(f"sqrt(abs({a.text}) + 1)", kind, [a], lambda v: math.sqrt(abs(v) + 1))
    )


@st.composite
def logarithm(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    a = draw(number(depth, False))
    kind = "float32" if a.kind == "int" else a.kind
    return a if a.constant else combined(f"log(abs({a.text}) + 1)", kind, [a], lambda v: math.log(abs(v) + 1))


@st.composite
def any_power(draw: st.DrawFn, depth: int, exact: bool) -> Tree:
    """Whole numbers to a fractional, negative or tensor power are float32."""
    a, b = draw(number(0, False)), draw(number(0, False))
    kind = join(a.kind, b.kind)
    if kind is None or (a.constant and b.constant):
        return a
    kind = "float32" if kind == "int" else kind
    base = combined(f"(abs({a.text}) + 1)", a.kind, [a], lambda v: abs(v) + 1)
    exponent = combined(f"-{b.text}", b.kind, [b], lambda v: -v)
    text = f"({base.text} ** {exponent.text})"
    return combined(text, kind, [base, exponent], lambda v, w: float(v) ** w)


@st.composite
def condition(draw: st.DrawFn, depth: int) -> Tree:
    """A tree whose value is true or false."""
    made = draw(st.sampled_from(["leaf", "compare", "compare", "not", "both", "same"])) if depth else "leaf"
    if made == "leaf":
        name = draw(st.sampled_from("tu"))
        return Tree(name, "bool", lambda env: env[name])
    if made == "compare":
        a, b, op = (
            draw(number(depth - 1, True)),
            draw(number(depth - 1, True)),
            draw(st.sampled_from(sorted(COMPARE))),
        )
        if join(a.kind, b.kind) is None or (a.constant and b.constant):
            return Tree("t", "bool", lambda env: env["t"])
        return Tree(f"({a.text} {op} {b.text})", "bool", lambda env: COMPARE[op](a.value(env), b.value(env)))
    p, q = draw(condition(depth - 1)), draw(condition(depth - 1))
    if made == "not":
        return Tree(f"(not {p.text})", "bool", lambda env: not p.value(env))
    if made == "same":
        op = draw(st.sampled_from(["==", "!="]))
        return Tree(f"({p.text} {op} {q.text})", "bool", lambda env: COMPARE[op](p.value(env), q.value(env)))
    word = draw(st.sampled_from(["and", "or"]))
    of = (
        (lambda env: p.value(env) and q.value(env))
        if word == "and"
        else (lambda env: p.value(env) or q.value(env))
    )
    return Tree(f"({p.text} {word} {q.text})", "bool", of)


EXACT = "arithmetic negative extremum clamp abs step division choice int power".split()
SMOOTHER = ["true division", "smooth", "root", "log", "any power"]
MAKERS: dict[str, Callable[[int, bool], st.SearchStrategy[Tree]]] = {
    "arithmetic": arithmetic, "negative": negative, "extremum": extremum, "clamp": clamp, "abs": absolute,
    "step": step, "division": division, "choice": choice, "int": integer, "power": power,
    "true division": true_division, "smooth": smooth, "root": root, "log": logarithm, "any power": any_power,
}  # fmt: skip
