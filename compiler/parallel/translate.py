"""A placement in the names of a checkpoint, for those who load it with tools of their own."""

from __future__ import annotations

import re

from compiler.parallel.placement import Placement, matches
from compiler.parallel.styles import REPLICATE
from compiler.weights.load_plan import LoadPlan

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
_WEIGHT = ".weight"


def translated(placement: Placement, plan: LoadPlan) -> dict[str, str]:
    """Their module patterns (`model.layers.*.self_attn.q_proj`) -> styles.

    A weight that lies otherwise in the checkpoint, transposed or joined with others, has no style there, and
    then neither have those that are split together with it; nor has a head whose weight is a table's.
    """
    theirs = _modules(plan)
    lost = {
        group
        for group in placement.groups
        if any(matches(pattern, ours) and theirs[ours] == "" for pattern in group for ours in theirs)
    }
    out: dict[str, str] = {}
    for ours, name in theirs.items():
        style = placement.style(ours)
        if style != REPLICATE and name and not any(_within(ours, group) for group in lost):
            out[_NUMBER.sub("*", name)] = style
    return out


def _within(module: str, group: tuple[str, ...]) -> bool:
    return any(matches(pattern, module) for pattern in group)


def _modules(plan: LoadPlan) -> dict[str, str]:
    """Our modules with weights -> theirs, "" where the weight does not lie there as it does here."""
    same = set(plan.aliased())
    found: dict[str, str] = {}
    for group in plan.groups:
        for move in group.moves:
            if move.ours.endswith(_WEIGHT) and not group.check:
                named = move.ours in same and move.theirs.endswith(_WEIGHT)
                found[move.ours.removesuffix(_WEIGHT)] = move.theirs.removesuffix(_WEIGHT) if named else ""
    return found
