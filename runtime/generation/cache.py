"""A cache's rows, where beams fork and end: what grows with the sequence, and what was computed once.

A cache is the plain dict that a module's `new_cache` gives; its layout follows the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from compiler.ir.program import Once, Program, Unit

#: Names of axes in the shapes of what is kept.
_KEYS, _BATCH = "K", "B"


@dataclass(frozen=True)
class Entry:
    """`holder[key]`: a list of tensors, None where it is computed once and has not been.

    shapes: of each, its axes by name.
    """

    holder: dict[str, Any]
    key: str
    once: bool
    shapes: tuple[tuple[str, ...], ...]

    def so_far(self, past: int) -> list[Tensor]:
        """Its tensors, as far as they are filled."""
        if self.holder[self.key] is None:
            return []
        return [
            tensor.narrow(shape.index(_KEYS), 0, past) if not self.once and _KEYS in shape else tensor
            for tensor, shape in zip(self.holder[self.key], self.shapes, strict=True)
        ]


def entries(cache: dict[str, Any], program: Program) -> tuple[Entry, ...]:
    """Every list of tensors in a cache."""
    return tuple(_entries(cache, program.root.unit))


def spread(old: tuple[Entry, ...], new: tuple[Entry, ...], past: int, times: int) -> None:
    """Fill a cache with the rows of another, each `times` times in a row."""
    for source, target in zip(old, new, strict=True):
        if source.once:
            target.holder[target.key] = [
                tensor.repeat_interleave(times, 0) if shape[:1] == (_BATCH,) else tensor
                for tensor, shape in zip(source.so_far(past), source.shapes, strict=True)
            ]
            continue
        for have, want in zip(source.so_far(past), target.so_far(past), strict=True):
            want.copy_(have.repeat_interleave(times, 0))


def reorder(cache: tuple[Entry, ...], past: int, rows: Tensor, sources: Tensor) -> None:
    """Row rows[i] becomes what row sources[i] was, a row of the same input: what was computed once stays."""
    for entry in cache:
        if not entry.once:
            for tensor in entry.so_far(past):
                tensor.index_copy_(0, rows, tensor.index_select(0, sources))


def _entries(cache: dict[str, Any], unit: Unit) -> Iterator[Entry]:
    """In the order of the text's own `new_cache`."""
    for slots in unit.slots:
        shapes = slots.shapes
        if not shapes:
            once = next(a for a in unit.actions if isinstance(a, Once) and a.name == slots.name)
            shapes = tuple(unit.typed.type_of(target).shape for target in once.targets)
        names = tuple(tuple(map(str, shape)) for shape in shapes)
        yield Entry(cache, slots.name, not slots.shapes, names)
    for member in unit.members:
        if not member.children or not member.children[0].uses_cache:
            continue
        if member.layers is None:
            yield from _entries(cache[member.name], member.children[0])
        else:
            for inner, child in zip(cache[member.name], member.layers, strict=True):
                yield from _entries(inner, member.children[child])
