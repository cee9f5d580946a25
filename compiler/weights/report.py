"""What a plan will do, in a few lines: read before loading, and printed by `plan`."""

from __future__ import annotations

from typing import cast

from compiler.weights.fold import fold
from compiler.weights.load_plan import LoadPlan


def summary(plan: LoadPlan) -> str:
    """Counts, then casts, second copies and drops with their reasons; equal layers on one line."""
    aliased = set(plan.aliased())
    moved = {move.ours for group in plan.groups if not group.check for move in group.moves} - aliased
    copies = {move.theirs for group in plan.groups if group.check for move in group.moves}
    elements = sum(plan.ours[name].numel for name in moved)
    lines = [
        f"{plan.map}: {len(plan.ours)} tensors from {len(plan.theirs) - len(copies)}",
        f"  as they stand: {len(aliased)}",
        f"  rearranged or cast: {len(moved)} ({elements} elements)",
    ]
    for folded in fold((recast.ours, (recast.source, recast.target)) for recast in plan.casts):
        source, target = cast(tuple[str, str], folded.value)
        lines.append(f"  cast {folded}: {source} -> {target}")
    lines += [
        f"  a second copy, to be compared: {folded}" for folded in fold((key, 0) for key in sorted(copies))
    ]
    lines += [
        f"  left out {folded}: {folded.value}" for folded in fold((d.theirs, d.reason) for d in plan.dropped)
    ]
    return "\n".join(lines)
