"""A load plan in full: each tensor of ours with the one it comes from, equal layers on one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from compiler.ir.parameters import ParameterTable
from compiler.report.units import exact, nbytes, one_line
from compiler.weights.dtypes import ITEMSIZE
from compiler.weights.expand import expand
from compiler.weights.fold import fold
from compiler.weights.header import Header
from compiler.weights.library import WeightMap
from compiler.weights.load_plan import LoadPlan

AS_IT_STANDS = "as it stands"
_NUMBER = re.compile(r"(?<![^./])[0-9]+(?![^./])")
_SLOT = re.compile(r"\{[^}]*\}|(?<![^./])[0-9]+(?![^./])")


@dataclass(frozen=True)
class Line:
    """One move: where a tensor of ours comes from, and how its axes become ours."""

    ours: str
    theirs: str
    shape: tuple[int, ...]
    dtype: str
    layout: str


@dataclass(frozen=True)
class Planned:
    """A plan with what it was made from."""

    plan: LoadPlan
    map: WeightMap
    header: Header
    table: ParameterTable

    def lines(self) -> list[Line]:
        """The moves in the order of the plan; second copies, which are only compared, are not among them."""
        layouts = self._layouts()
        return [
            Line(
                move.ours,
                move.theirs,
                self.plan.ours[move.ours].shape,
                self.plan.theirs[move.theirs].dtype,
                layouts.get(move.ours, AS_IT_STANDS),
            )
            for group in self.plan.groups
            if not group.check
            for move in group.moves
        ]

    def _layouts(self) -> dict[str, str]:
        """The rule's layout of each of our tensors that has one."""
        expansion = expand(self.map, self.table.values)
        found = ((ours, i.equation.rule.layout) for i in expansion.instances for ours in i.ours)
        return {ours: layout.text for ours, layout in found if layout is not None}

    def second_copies(self) -> list[str]:
        """Their tensors that are compared with another of theirs."""
        return sorted({move.theirs for group in self.plan.groups if group.check for move in group.moves})

    def size(self, aliased: bool) -> int:
        """The bytes of our tensors that are the file's as they stand, or of those that are copied."""
        mapped = set(self.plan.aliased())
        dtypes = {line.ours: line.dtype for line in self.lines()}
        names = (name for name in dtypes if (name in mapped) == aliased)
        return sum(self.plan.ours[name].numel * ITEMSIZE[dtypes[name]] for name in names)


def plan_text(planned: Planned) -> str:
    """What `weights plan` prints."""
    plan, header = planned.plan, planned.header
    rows = [("ours", "shape", "theirs", "layout"), *_folded(planned.lines())]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    aliased = len(plan.aliased())
    out = [
        f"{plan.map} reads {header.path.name} ({header.format}): "
        f"{exact(len(plan.ours))} tensors of ours, {exact(len(header.tensors))} of theirs",
        "",
        *table,
        "",
        f"mapped, not copied: {aliased} tensors, {nbytes(planned.size(aliased=True))}",
        f"copied: {len(plan.ours) - aliased} tensors, {nbytes(planned.size(aliased=False))}",
        *(f"tied: {alias} is {owner}" for alias, owner in planned.table.ties.items()),
        *(
            f"second copy, to be compared: {copy}"
            for copy in fold((name, 0) for name in planned.second_copies())
        ),
        *(
            f"left out: {gone}: {gone.value}"
            for gone in fold((d.theirs, one_line(d.reason)) for d in plan.dropped)
        ),
    ]
    return "\n".join(out) + "\n"


def plan_data(planned: Planned) -> dict[str, Any]:
    """The same facts for scripts, nothing folded."""
    mapped = set(planned.plan.aliased())
    return {
        "map": planned.plan.map,
        "dialect": planned.map.dialect,
        "file": planned.header.path.name,
        "format": planned.header.format,
        "readonly": planned.plan.readonly,
        "tensors": [{**vars(line), "mapped": line.ours in mapped} for line in planned.lines()],
        "mapped_bytes": planned.size(aliased=True),
        "copied_bytes": planned.size(aliased=False),
        "ties": dict(planned.table.ties),
        "second_copies": planned.second_copies(),
        "left_out": {d.theirs: d.reason for d in planned.plan.dropped},
    }


def _folded(lines: list[Line]) -> Iterator[tuple[str, str, str, str]]:
    """Lines that differ in the numbers of their names alone, together."""
    for found in fold((line.ours, (_template(line), line.shape, line.layout)) for line in lines):
        theirs, shape, layout = cast(tuple[str, tuple[int, ...], str], found.value)
        for place, numbers in enumerate(_SLOT.findall(found.name)):
            theirs = theirs.replace(f"<{place}>", numbers)
        yield found.name, str(list(shape)), theirs, layout


def _template(line: Line) -> str:
    """Their name, each number that ours has too in the form `<place in ours>`."""
    numbers = _NUMBER.findall(line.ours)
    return _NUMBER.sub(lambda m: f"<{numbers.index(m[0])}>" if m[0] in numbers else m[0], line.theirs)
