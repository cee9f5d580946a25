"""Who reads each value of a method, and which steps look alike: what decides where a line ends."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from compiler.ir.actions import action_refs
from compiler.ir.graph import Ref
from compiler.ir.program import Action, Once, Step


def with_neighbours(crowded: set[Ref], actions: tuple[Action, ...]) -> set[Ref]:
    """The steps, and those beside them that look alike: q, k and v are written alike or not at all."""
    out = set(crowded)
    for run in (actions, actions[::-1]):
        for one, other in pairwise(run):
            if (
                isinstance(one, Step)
                and isinstance(other, Step)
                and one.targets[0] in out
                and _alike(one, other)
            ):
                out.add(other.targets[0])
    return out


def _alike(one: Step, other: Step) -> bool:
    return _outline(one) == _outline(other)


def _outline(step: Step) -> list[object]:
    """The text of a step without its values, literals and own member."""
    own = f"self.{step.targets[0].node}("
    return [p.replace(own, "self(") if isinstance(p, str) else type(p) for p in step.code.pieces]


def find_readers(actions: tuple[Action, ...], outputs: Mapping[str, Ref]) -> dict[Ref, list[Action | None]]:
    """Who reads each value; None stands for the return."""
    readers: dict[Ref, list[Action | None]] = {}
    for action in actions:
        for inner in action.actions if isinstance(action, Once) else (action,):
            for ref in action_refs(inner):
                readers.setdefault(ref, []).append(inner)
    for ref in outputs.values():
        readers.setdefault(ref, []).append(None)
        if len(outputs) > 1:
            readers[ref].append(None)  # it may be returned in two ways: alone, or among the outputs
    return readers


def single_outputs(readers: Mapping[Ref, list[Action | None]]) -> set[str]:
    """Nodes of which one output is read: it goes by the node's name."""
    outputs: dict[str, set[str]] = {}
    for ref in readers:
        outputs.setdefault(ref.node, set()).add(ref.port)
    return {node for node, ports in outputs.items() if len(ports) == 1}
