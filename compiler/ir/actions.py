"""What an action of a program makes and reads, whatever its form."""

from __future__ import annotations

from compiler.ir.code import Piece
from compiler.ir.graph import Ref
from compiler.ir.program import Action, Default, Loop, Once, Step


def targets(action: Action) -> tuple[Ref, ...]:
    """The values that an action makes."""
    match action:
        case Step(targets=found):
            return found
        case Loop(target=target, taps=taps):
            return (target, *taps)
        case Default(name=name):
            return (Ref(name),)
        case Once(targets=found):
            return found


def action_refs(action: Action) -> tuple[Ref, ...]:
    """The values that an action reads."""
    match action:
        case Step():
            extra = (action.fallback,) if action.fallback is not None else ()
            return (*action.code.refs(), *action.guard, *extra)
        case Loop():
            return (action.start, *(r for a in action.arguments if a is not None for r in a.refs()))
        case Default(value=value):
            return (value,)
        case Once(actions=inner):
            made = {t for a in inner for t in targets(a)}
            return tuple(r for a in inner for r in action_refs(a) if r not in made)


def action_pieces(action: Action) -> list[Piece]:
    """The pieces of an action's text, in text order."""
    match action:
        case Step():
            return list(action.code.pieces)
        case Loop():
            return [p for a in action.arguments if a is not None for p in a.pieces]
        case Default():
            return []
        case Once(actions=inner):
            return [p for a in inner for p in action_pieces(a)]
