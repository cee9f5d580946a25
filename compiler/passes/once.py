"""What a cache of mode `once` keeps, and everything computed for it alone, as one guarded group of steps."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.actions import action_refs, targets
from compiler.ir.graph import OpNode
from compiler.ir.program import Action, Once, Step
from compiler.ir.typed import TypedBlock


def kept_once(actions: Sequence[Action], block: TypedBlock) -> list[Action]:
    """The actions, those that lead to a `once` cache and to nothing else grouped with it."""
    out = list(actions)
    for typed in block.nodes:
        if (
            isinstance(typed.node.action, OpNode)
            and typed.node.action.op == "cache"
            and typed.attrs["mode"] == "once"
        ):
            out = _grouped(out, typed.node.name, block)
    return out


def _grouped(actions: list[Action], name: str, block: TypedBlock) -> list[Action]:
    last = next(a for a in actions if isinstance(a, Step) and a.targets[0].node == name)
    group: list[Action] = [last]
    outputs = set(block.block.outputs.values())
    for action in reversed(actions[: actions.index(last)]):
        made = set(targets(action))
        readers = [a for a in actions if made & set(action_refs(a))]
        if readers and all(any(r is g for g in group) for r in readers) and not made & outputs:
            group.insert(0, action)
    assert isinstance(last, Step)
    once = Once(name, tuple(group), last.targets)
    return [once if a is last else a for a in actions if a is last or not any(a is g for g in group)]
