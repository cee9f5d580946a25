"""The layout grammar: how the axes of their tensor become the axes of ours.

    layout := axes " -> " axes
    axes   := name | integer | (product) | [m|n|..] one size per member | * that member's axis | {e} stack

A layout is a bijection of axes: each name stands once on both sides, only the unit axis `1` may come and go.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache


class LayoutError(Exception):
    """A fault in the text of a layout at [start, end)."""

    def __init__(self, message: str, start: int, end: int, help: str = "") -> None:
        super().__init__(message)
        self.message, self.start, self.end, self.help = message, start, end, help


@dataclass(frozen=True)
class Axis:
    """A named axis; an integer is an axis of that name and size."""

    name: str


@dataclass(frozen=True)
class Sum:
    """`[n|m]`: the members one after the other along this axis."""

    sizes: tuple[str, ...]


@dataclass(frozen=True)
class Star:
    """The axis along which a member takes part in a sum."""


@dataclass(frozen=True)
class Stack:
    """`{e}`: one slice per value of an index."""

    index: str


Atom = Axis | Sum | Star | Stack
Dim = tuple[Atom, ...]


@dataclass(frozen=True)
class Layout:
    """theirs -> ours; one entry per dimension of the tensor, a product where it has several atoms."""

    text: str
    theirs: tuple[Dim, ...]
    ours: tuple[Dim, ...]

    @property
    def theirs_sum(self) -> tuple[str, ...]:
        """The sizes of the sum on their side, one per member; empty without one."""
        return _sum(self.theirs)

    @property
    def ours_sum(self) -> tuple[str, ...]:
        """The sizes of the sum on our side."""
        return _sum(self.ours)

    @property
    def theirs_stack(self) -> tuple[str, ...]:
        """The indices stacked on their side."""
        return _stack(self.theirs)

    @property
    def ours_stack(self) -> tuple[str, ...]:
        """The indices stacked on our side."""
        return _stack(self.ours)


_TOKEN = re.compile(
    r"\s*(?:(->)|([()*])|\[([A-Za-z0-9_| ]*)\]|\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*)|([0-9]+))", re.ASCII
)
ARROW = "->"


@lru_cache(maxsize=1024)
def parse_layout(text: str) -> Layout:
    """Raises LayoutError."""
    left, arrow, right = text.partition(ARROW)
    if not arrow or ARROW in right:
        raise LayoutError("a layout is `their axes -> our axes`", 0, len(text))
    layout = Layout(text, _dims(left, 0), _dims(right, len(left) + len(arrow)))
    _check(layout)
    return layout


def atoms(side: tuple[Dim, ...]) -> list[Atom]:
    """The axes of a side, products opened."""
    return [atom for dim in side for atom in dim]


def _dims(text: str, at: int) -> tuple[Dim, ...]:
    dims: list[Dim] = []
    product: list[Atom] | None = None
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise LayoutError("not an axis", at + position, at + len(text.rstrip()))
        where = (at + match.start(match.lastindex or 0), at + match.end())
        position = match.end()
        if match[2] == "(" and product is None:
            product = []
        elif match[2] == ")" and product is not None:
            dims.append(tuple(product))
            product = None
        elif match[2] in ("(", ")"):
            raise LayoutError("parentheses do not match, or nest", *where)
        elif product is None:
            dims.append((_atom(match, where),))
        else:
            product.append(_atom(match, where))
    if product is not None:
        raise LayoutError("a parenthesis is not closed", at, at + len(text))
    return tuple(dims)


def _atom(match: re.Match[str], where: tuple[int, int]) -> Atom:
    if match[2] == "*":
        return Star()
    if match[3] is not None:
        sizes = tuple(size.strip() for size in match[3].split("|"))
        if len(sizes) < 2 or "" in sizes or any(" " in size for size in sizes):
            raise LayoutError("a sum is `[a|b]`: one size per member", *where)
        return Sum(sizes)
    if match[4] is not None:
        return Stack(match[4])
    return Axis(match[5] or str(int(match[6])))


def _check(layout: Layout) -> None:
    """A bijection: the same atoms on both sides, a sum on one side and its star on the other."""
    whole = (0, len(layout.text))
    sides = (atoms(layout.theirs), atoms(layout.ours))
    counts = [
        Counter(atom.name for atom in side if isinstance(atom, Axis) and atom.name != "1") for side in sides
    ]
    for name in {**counts[0], **counts[1]}:
        if counts[0][name] != 1 or counts[1][name] != 1:
            help = "sizes are not copied or lost: only the axis 1 may come and go"
            raise LayoutError(f"the axis `{name}` must stand once on each side", *whole, help)
    sums = [sum(isinstance(atom, Sum) for atom in side) for side in sides]
    stars = [sum(isinstance(atom, Star) for atom in side) for side in sides]
    if sum(sums) > 1 or sums != stars[::-1]:
        raise LayoutError("a sum [a|b] on one side and one `*` on the other belong together", *whole)
    stacks = [_stack(layout.theirs), _stack(layout.ours)]
    if any(len(set(side)) != len(side) for side in stacks) or (stacks[0] and stacks[1]):
        raise LayoutError("a stack axis stands once, on one side", *whole)
    if (stacks[0] and sums[1]) or (stacks[1] and sums[0]):
        raise LayoutError("sum and stack axes stand on the same side", *whole)


def _sum(side: tuple[Dim, ...]) -> tuple[str, ...]:
    return next((atom.sizes for atom in atoms(side) if isinstance(atom, Sum)), ())


def _stack(side: tuple[Dim, ...]) -> tuple[str, ...]:
    return tuple(atom.index for atom in atoms(side) if isinstance(atom, Stack))
