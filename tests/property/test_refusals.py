"""What an op cannot do is refused where it stands, with the code and the word that tell the reader why."""

from __future__ import annotations

import pytest

from compiler import CompileError
from tests.property.one_node import Case, compiled

X = {"x": "float[B, T, 6]"}
PAIR = {"x": "float[B, 4]", "z": "float[B, 5]"}
HEADS = {"q": "float[B, 4, T, 8]", "k": "float[B, 2, S, 8]", "v": "float[B, 2, S, 8]"}
QKV = "op: attention, in: {q: q, k: k, v: v}"

REFUSED = [
    ('op: rearrange, in: x, pattern: "B T D"', X, "bad-pattern", "needs one `->`"),
    ('op: rearrange, in: x, pattern: "B T -> T B"', X, "shape-mismatch", "has 2 axes"),
    ('op: rearrange, in: x, pattern: "B T (h 4) -> B T h 4"', X, "shape-mismatch", "not divisible"),
    ('op: rearrange, in: x, pattern: "B T (h d) -> B T h d"', X, "bad-pattern", "are not known"),
    ('op: rearrange, in: x, pattern: "B T D -> B T"', X, "bad-pattern", "must stand once"),
    ('op: rearrange, in: x, pattern: "B B D -> B D"', {"x": "float[4, 4, 6]"}, "bad-pattern", "stands twice"),
    ('op: rearrange, in: x, pattern: "B [T] D -> T B D"', X, "bad-pattern", "brackets"),
    ('op: expand, in: x, pattern: "B T D -> B T D R"', X, "bad-pattern", "size of `R`"),
    ('op: expand, in: x, pattern: "B T D -> T B D"', X, "bad-pattern", "in order"),
    ('op: expand, in: x, pattern: "B T D -> (B T) D"', X, "bad-pattern", "no products"),
    ('op: reduce, in: x, fn: sum, pattern: "B T D -> T B"', X, "bad-pattern", "order"),
    ('op: reduce, in: x, fn: argmax, pattern: "B T D -> B"', X, "bad-pattern", "one axis"),
    ('op: reduce, in: x, fn: mean, pattern: "B T -> B"', {"x": "int[B, T]"}, "dtype-mismatch", "floats"),
    ('op: reduce, in: x, fn: argmax, pattern: "B T -> B"', {"x": "bool[B, T]"}, "dtype-mismatch", "numbers"),
    ("op: concat, in: [x, z], axis: 0", PAIR, "shape-mismatch", "axis 1 is 4"),
    ("op: concat, in: [x, z], axis: 2", PAIR, "bad-dim", "no axis 2"),
    ("op: slice, in: x, axis: 2, start: 6", X, "bad-dim", "empty"),
    ("op: slice, in: x, axis: 1, start: 2, stop: 1", X, "bad-dim", "empty"),
    ("op: add, in: [x, z]", PAIR, "shape-mismatch", "axis -1"),
    ("op: add, in: [x, z]", {"x": "float[2]", "z": "float32[2]"}, "dtype-mismatch", "meet"),
    ("op: add, in: [x, z]", {"x": "float[T]", "z": "float[S]"}, "shape-unknown", "nothing says|axis -1"),
    ("op: linear, in: x, out: 3", {"x": "float[B, T]"}, "bad-dim", "fixed size"),
    ("op: linear, in: x, out: 3", {"x": "int[B, 6]"}, "dtype-mismatch", "needs float"),
    ("op: linear, in: x, out: 3", {"x": "float32[B, 6]"}, "dtype-mismatch", "needs float"),
    ("op: linear, in: x, out: 0", X, "bad-dim", "positive"),
    ("op: conv, in: x, out: 4, kernel: 3", {"x": "float[B, 4]"}, "shape-mismatch", "1 to 3 axes"),
    ("op: conv, in: x, out: 4, kernel: 9", {"x": "float[B, 4, 7]"}, "shape-mismatch", "larger"),
    ("op: conv, in: x, out: 4, kernel: 3, groups: 3", {"x": "float[B, 4, 7]"}, "shape-mismatch", "divisible"),
    ("op: conv, in: x, out: 4, kernel: 3, stride: 0", {"x": "float[B, 4, 7]"}, "bad-dim", "from 1"),
    ("op: conv, in: x, out: 4, kernel: [3, 3]", {"x": "float[B, 4, 7]"}, "bad-dim", "or 1 of them"),
    ('op: einsum, in: [x, z], pattern: "B a, B a -> B"', PAIR, "shape-mismatch", "`a`"),
    ('op: einsum, in: [x, z], pattern: "B a, B b -> B c"', PAIR, "bad-pattern", "`c`"),
    ('op: einsum, in: [x, z], pattern: "(B a), B b -> B"', PAIR, "bad-pattern", "products"),
    ("op: embedding, in: x, num: 4, dim: 2", {"x": "float[B]"}, "dtype-mismatch", "whole numbers"),
    ("op: layer_norm, in: x", {"x": "float[B, T]"}, "shape-mismatch", "fixed"),
    ("op: activation, in: x, fn: relu", {"x": "int[B]"}, "dtype-mismatch", "floats"),
    ("op: activation, in: x, fn: rely", {"x": "float[B]"}, "bad-value", "relu"),
    ("op: dropout, in: x, p: 1.5", X, "bad-value", "probability"),
    (QKV, {**HEADS, "k": "float[B, 3, S, 8]", "v": "float[B, 3, S, 8]"}, "shape-mismatch", "cannot share"),
    (QKV, {**HEADS, "k": "float[B, 2, S, 4]"}, "shape-mismatch", "head_dim"),
    (QKV, {**HEADS, "v": "float[B, 2, T, 8]"}, "shape-unknown", "values"),
    (QKV + ", causal: true", HEADS, "shape-unknown", "sees S keys"),
    (QKV + ", window: 2", HEADS, "bad-value", "window"),
    (QKV[:-1] + ", mask: m}", {**HEADS, "m": "bool[B, T]"}, "shape-unknown", "T"),
    (QKV[:-1] + ", mask: m}", {**HEADS, "m": "float[B, S]"}, "shape-mismatch", "bool"),
    (QKV[:-1] + ", bias: m}", {**HEADS, "m": "float[1, 3, 1, S]"}, "shape-mismatch", "has 3"),
    (
        "op: rotate, in: [x, a]",
        {"x": "float[B, 2, T, 8]", "a": "float[B, T, 3]"},
        "shape-mismatch",
        "rotate 6",
    ),
    ('op: gather, in: [x, at], pattern: "B [T] D, B -> B"', {**X, "at": "int[B]"}, "bad-pattern", "`D`"),
    ('op: gather, in: [x, at], pattern: "B T D, B -> B D"', {**X, "at": "int[B]"}, "bad-pattern", "bracket"),
    (
        'op: gather, in: [x, at], pattern: "B [T] D, B -> B D"',
        {**X, "at": "bool[B]"},
        "dtype-mismatch",
        "index",
    ),
    ('op: map, in: {x: x}, expr: "=x and x"', X, "dtype-mismatch", "no condition"),
    ('op: map, in: {x: x}, expr: "=x + (x > 0)"', X, "dtype-mismatch", "no number"),
    ('op: map, in: {x: x}, expr: "=1 if x else 0"', X, "dtype-mismatch", "no condition"),
    ('op: map, in: {x: x}, expr: "=[x, x]"', X, "expr-value", "lists"),
    ('op: map, in: {x: x}, expr: "=ceil_to(x, 2)"', X, "expr-value", "ceil_to"),
    (
        'op: map, in: {x: x, z: z}, pattern: "B a, B b -> b a B", expr: "=x * z"',
        PAIR,
        "bad-pattern",
        "reorders",
    ),
    (
        'op: map, in: {x: x, z: z}, pattern: "B a, B b -> B a", expr: "=x * z"',
        PAIR,
        "bad-pattern",
        "reorders or drops",
    ),
    (
        'op: map, in: {n: n, x: x}, expr: "=x * (n / 2)"',
        {"n": "int[2]", "x": "float[2]"},
        "dtype-mismatch",
        "meet",
    ),
    (
        'op: map, in: {n: n, x: x}, expr: "=clamp(n, 0.5, x)"',
        {"n": "int[2]", "x": "float[2]"},
        "dtype-mismatch",
        "meet",
    ),
]


@pytest.mark.parametrize(
    ("node", "inputs", "code", "words"), REFUSED, ids=[f"{k}-{r[0][:40]}" for k, r in enumerate(REFUSED)]
)
def test_refused(node: str, inputs: dict[str, str], code: str, words: str) -> None:
    with pytest.raises(CompileError, match=words) as caught:
        compiled(Case(node, inputs))
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert found.span is not None and found.span.line > 2
