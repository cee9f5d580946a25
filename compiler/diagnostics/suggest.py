"""Near names for a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, candidates: Iterable[str], limit: int = 1, likeness: float = 0.6) -> list[str]:
    """The candidates closest to `name`, best first; empty when none is close."""
    by_lower = {c.lower(): c for c in candidates}
    found = get_close_matches(name.lower(), by_lower, n=limit, cutoff=likeness)
    return [by_lower[f] for f in found]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A help sentence, or the list of what exists when nothing is near, or nothing."""
    known = sorted(set(candidates))
    near = nearest(name, known)
    if near:
        return f"did you mean `{near[0]}`?"
    if known and len(known) <= 12:
        return "known here: " + ", ".join(f"`{k}`" for k in known)
    return ""
