"""Text of the ops that move axes as einops calls: the pattern of the spec is the pattern of the text."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

from compiler.ir.code import Code, Piece, code, join, size_piece
from compiler.ops.axes import solve
from compiler.ops.patterns import Axes, Pattern, Side, parse_pattern
from compiler.ops.text import axes as views
from compiler.ops.text.context import Context, Text

_REDUCTIONS = ("sum", "mean", "max", "any")


def rearrange(c: Context) -> Text:
    """`rearrange(q, "B T (heads head_dim) -> B heads T head_dim", heads=12)`."""
    pattern, axes = solve(c.call)
    wanted = [n for g in pattern.inputs[0] if len(g.names) > 1 for n in _given(g.names, axes)]
    return Text({"y": _call("rearrange", c, pattern, axes, wanted)})


def expand(c: Context) -> Text:
    """`repeat(cls, "D -> B 1 D", B=...)`."""
    pattern, axes = solve(c.call)
    known = {n for g in pattern.inputs[0] for n in g.names}
    wanted = [n for g in pattern.output for n in g.names if n not in known]
    return Text({"y": _call("repeat", c, pattern, axes, wanted)})


def reduce(c: Context) -> Text:
    """`reduce(x, "B n D -> B D", "mean")`; einops knows no argmax, no variance and no first entry."""
    fn = str(c.attr("fn"))
    if fn not in _REDUCTIONS:
        return views.reduce(c)
    pattern, axes = solve(c.call)
    wanted = [n for g in pattern.inputs[0] if len(g.names) > 1 for n in _given(g.names, axes)]
    return Text({"y": _call("reduce", c, pattern, axes, wanted, f', "{fn}"')})


def einsum(c: Context) -> Text:
    """`einsum(v, t, "B D, C D -> B C")`: the pattern stands last."""
    pattern = parse_pattern(str(c.attr("pattern")))
    written = _written(pattern, _safe_names(pattern))
    return Text({"y": code('einsum({x}, "' + written + '")', x=join(c.vars("x"), ", "))})


def _given(names: tuple[str, ...], axes: Axes) -> list[str]:
    """The factors of a product whose sizes einops must be told: all but one, symbolic if one is."""
    sizes = [axes.size(n) for n in names]
    free = next((k for k, s in enumerate(sizes) if s is None or s.constant is None), len(names) - 1)
    return [n for k, n in enumerate(names) if k != free]


def _call(fn: str, c: Context, pattern: Pattern, axes: Axes, wanted: Iterable[str], middle: str = "") -> Code:
    names = _safe_names(pattern)
    text = code(fn + '({x}, "' + _written(pattern, names) + '"' + middle, x=c.var("x"))
    for name in dict.fromkeys(wanted):
        size = axes.size(name)
        assert size is not None
        piece: Piece = size_piece(size, name)
        text += code(f", {names[name]}=" + "{s}", s=piece)
    return text + Code((")",))


def _written(pattern: Pattern, names: dict[str, str]) -> str:
    return ", ".join(_side(s, names) for s in pattern.inputs) + " -> " + _side(pattern.output, names)


def _side(side: Side, names: dict[str, str]) -> str:
    groups = [[names[n] for n in g.names] for g in side]
    return " ".join("1" if not g else g[0] if len(g) == 1 else f"({' '.join(g)})" for g in groups)


def _safe_names(pattern: Pattern) -> dict[str, str]:
    """Names that einops takes: no keywords, no underscore at either end, no numbers."""
    out: dict[str, str] = {}
    for name in (n for side in (*pattern.inputs, pattern.output) for g in side for n in g.names):
        if name not in out:
            safe = f"n{name}" if name.isdigit() else name.strip("_") or "n"
            while safe in out.values() or keyword.iskeyword(safe):
                safe += "x"
            out[name] = safe
    return out
