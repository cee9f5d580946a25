"""The losses of a run as an SVG picture: training pale and smoothed, the held-out part as points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 40, 44
_PALE, _LINE, _POINT, _RULE, _INK = "#c9d7ea", "#3b6ea8", "#c2571a", "#8a8a8a", "#333333"
_FONT: Final = 'font-family="Helvetica, Arial, sans-serif" font-size="12"'

Point = tuple[float, float]


def draw(title: str, rows: Sequence[Mapping[str, Any]], rules: Mapping[str, float]) -> str:
    """rows: of metrics.jsonl. rules: name -> loss of a baseline, a dashed line. Returns the SVG's text."""
    train = [(float(r["step"]), float(r["loss"])) for r in rows if r.get("loss") is not None]
    held = [(r["step"], r["valid"]["loss"]) for r in rows if "valid" in r]
    valid = [(float(step), float(loss)) for step, loss in held if loss is not None]
    smooth = _smoothed(train)
    shown = [y for _, y in [*smooth, *valid] if math.isfinite(y)] + list(rules.values())
    frame = _Frame(max((x for x, _ in train), default=1.0), min(shown, default=0.0), max(shown, default=1.0))
    parts = [frame.axes(), frame.line(train, _PALE, 1), frame.line(smooth, _LINE, 2)]
    parts += [frame.line(valid, _POINT, 1.5), *(frame.dot(p) for p in valid)]
    parts += [frame.rule(value) for value in rules.values()]
    labels = [(value, name, _RULE) for name, value in rules.items()]
    labels += [(smooth[-1][1], "training", _LINE)] if smooth else []
    labels += [(valid[-1][1], "held out", _POINT)] if valid else []
    parts += frame.labels(labels)
    head = _text(LEFT, 22, title)
    box = (
        f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    )
    clip = (
        f'<clipPath id="plot"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}"'
        f' height="{HEIGHT - TOP - BOTTOM}"/></clipPath>'
    )
    return "\n".join(
        [f"<svg {box}>", clip, '<rect width="100%" height="100%" fill="white"/>', head, *parts, "</svg>\n"]
    )


class _Frame:
    """The coordinates of the plot; a tenth of the range is left free above and below."""

    def __init__(self, right: float, low: float, high: float) -> None:
        pad = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
        self.right, self.low, self.high = right, low - pad, high + pad

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / self.right

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def line(self, points: Sequence[Point], color: str, width: float) -> str:
        finite = [(x, y) for x, y in points if math.isfinite(y)]
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in finite)
        return (
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"'
            ' stroke-linejoin="round" clip-path="url(#plot)"/>'
        )

    def dot(self, point: Point) -> str:
        return f'<circle cx="{self.x(point[0]):.1f}" cy="{self.y(point[1]):.1f}" r="2.5" fill="{_POINT}"/>'

    def rule(self, value: float) -> str:
        y = self.y(value)
        return f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{_RULE}" stroke-dasharray="4 4"/>'

    def labels(self, entries: Sequence[tuple[float, str, str]]) -> list[str]:
        """Values with name and color, written beside the plot at their height, none over another."""
        parts: list[str] = []
        free = float(TOP)
        for value, name, color in sorted(entries, reverse=True):
            y = max(self.y(value) + 4, free)
            parts.append(_text(WIDTH - RIGHT + 8, y, f"{name} {value:.3f}", "start", color))
            free = y + 15
        return parts

    def axes(self) -> str:
        parts = []
        for value in ticks(self.low, self.high):
            y = self.y(value)
            parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#eeeeee"/>')
            parts.append(_text(LEFT - 8, y + 4, f"{value:g}", "end"))
        for step in ticks(0.0, self.right):
            parts.append(_text(self.x(step), HEIGHT - BOTTOM + 18, f"{step:g}", "middle"))
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "step", "middle"))
        parts.append(_text(12, TOP - 6, "loss"))
        return "\n".join(parts)


def _text(x: float, y: float, text: str, anchor: str = "start", color: str = _INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {_FONT} fill="{color}">{escape(text)}</text>'
    )


def ticks(low: float, high: float) -> list[float]:
    """About six round numbers within a range."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw or m == 10)
    return [round(k * step, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """A running mean that forgets over a thirtieth of the run."""
    decay = 1 - 1 / max(1, len(points) / 30)
    out: list[Point] = []
    mean = weight = 0.0
    for x, y in points:
        if math.isfinite(y):
            mean, weight = decay * mean + (1 - decay) * y, decay * weight + (1 - decay)
            out.append((x, mean / weight))
    return out
