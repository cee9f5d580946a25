"""Many names as few: `h.{0-11}.attn.q.weight`. Only names with equal values are ever put together."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from math import prod

#: One set of numbers per slot; it stands for every combination of them.
Box = tuple[tuple[int, ...], ...]

MAX_RUNS = 6
_NUMBER = re.compile(r"(?<![^./])[0-9]+(?![^./])")


@dataclass(frozen=True)
class Folded:
    """`count` names that share a value."""

    name: str
    count: int
    value: Hashable

    def __str__(self) -> str:
        return f"`{self.name}`" + (f" ({self.count} tensors)" if self.count > 1 else "")


def fold(items: Iterable[tuple[str, Hashable]]) -> list[Folded]:
    """Names with values, layers put together where all the rest is equal, in order of first appearance."""
    groups: dict[tuple[tuple[str, ...], Hashable], list[tuple[int, ...]]] = {}
    for name, value in items:
        skeleton = tuple(_NUMBER.split(name))
        groups.setdefault((skeleton, value), []).append(tuple(int(n) for n in _NUMBER.findall(name)))
    found: list[Folded] = []
    for (skeleton, value), numbers in groups.items():
        for ranges, count in _boxes(numbers):
            holes = [*map(_range, ranges), ""]
            name = "".join(text + hole for text, hole in zip(skeleton, holes, strict=True))
            found.append(Folded(name, count, value))
    return found


def _boxes(numbers: list[tuple[int, ...]]) -> list[tuple[Box, int]]:
    """Tuples of numbers as products of sets: slot after slot, entries that agree elsewhere are merged."""
    boxes: list[Box] = [tuple((number,) for number in entry) for entry in dict.fromkeys(numbers)]
    for slot in range(len(numbers[0]) - 1, -1, -1):
        merged: dict[Box, set[int]] = {}
        for box in boxes:
            merged.setdefault((*box[:slot], (), *box[slot + 1 :]), set()).update(box[slot])
        boxes = [(*rest[:slot], tuple(sorted(found)), *rest[slot + 1 :]) for rest, found in merged.items()]
    return [(box, prod(len(values) for values in box)) for box in boxes]


def _range(values: tuple[int, ...]) -> str:
    """`3`, `{0-11}` or `{0-2,5}`."""
    if len(values) == 1:
        return str(values[0])
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    words = [str(a) if a == b else f"{a}-{b}" for a, b in runs]
    if len(words) > MAX_RUNS:
        words[MAX_RUNS - 1 : -1] = ["..."]
    return "{" + ",".join(words) + "}"
