"""Which block instances become one class: equal structure, whatever their literals.

A literal that is the same in all instances stands in the text; literals that vary become constructor
arguments, one per distinct series of values, named after the block's param or dim that has those values.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from compiler.ir.actions import action_pieces
from compiler.ir.code import Code, Lit, Literal
from compiler.ir.program import Action, ClassDecl, Default, Loop, Once, Step, Unit
from compiler.ir.values import Value
from compiler.syntax.names import ADDED_METHODS, MODULE_ATTRIBUTES, TEXT_NAMES

Key = tuple[object, ...]


def group_classes(root: Unit) -> tuple[ClassDecl, ...]:
    """The classes in dependency order, the root's last."""
    order: list[Unit] = []
    _collect(root, order)
    keys: dict[int, Key] = {}
    groups: dict[Key, list[Unit]] = {}
    for unit in order:
        keys[id(unit)] = _key(unit, keys)
        groups.setdefault(keys[id(unit)], []).append(unit)
    names = _names(list(groups.values()))
    return tuple(_declare(name, units) for name, units in zip(names, groups.values(), strict=True))


def _collect(unit: Unit, order: list[Unit]) -> None:
    for member in unit.members:
        for child in member.children:
            _collect(child, order)
    if not any(unit is u for u in order):
        order.append(unit)


# -- structure ----------------------------------------------------------------------------------------------


def _key(unit: Unit, keys: dict[int, Key]) -> Key:
    """Everything of a unit but its literals."""
    members = tuple(
        (m.name, m.code and _shape(m.code), tuple(keys[id(c)] for c in m.children), _layout(m.layers))
        for m in unit.members
    )
    actions = tuple(_action_shape(a) for a in unit.actions)
    slots = tuple(
        (s.name, tuple(tuple(str(d) if d.constant is None else "" for d in x) for x in s.shapes))
        for s in unit.slots
    )
    outputs = tuple(unit.outputs.items())
    return (
        unit.typed.block.name,
        unit.arguments,
        members,
        actions,
        slots,
        outputs,
        unit.uses_past,
        unit.uses_cache,
    )


def _layout(layers: tuple[int, ...] | None) -> object:
    """A list of alike layers may vary in length; a list of several kinds may not."""
    if layers is None:
        return None
    return "alike" if len(set(layers)) == 1 else layers


def _shape(text: Code) -> Key:
    return tuple("<literal>" if isinstance(p, Lit) else p for p in text.pieces)


def _action_shape(action: Action) -> Key:
    match action:
        case Step():
            return ("step", action.targets, _shape(action.code), action.guard, action.fallback)
        case Loop():
            arguments = tuple(a and _shape(a) for a in action.arguments)
            return ("loop", action.target, action.member, action.start, arguments, action.order, action.taps)
        case Default():
            return ("default", action.name, action.value)
        case Once():
            return ("once", action.name, tuple(_action_shape(a) for a in action.actions))


# -- literals -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hole:
    """A place of a literal: its value in one instance, and the name it would like."""

    value: Literal
    hint: str


def holes(unit: Unit) -> list[Hole]:
    """The literals of a unit in text order; those of its children stand where the children are made."""
    found: list[Hole] = []
    for member in unit.members:
        if member.code is not None:
            found += _literals(member.code)
        if member.layers is not None and len(set(member.layers)) == 1:
            found.append(Hole(len(member.layers), "depth"))
        for child in member.children:
            found += holes(child)
    found += [Hole(p.value, p.hint) for a in unit.actions for p in action_pieces(a) if isinstance(p, Lit)]
    for slot in unit.slots:
        found += [Hole(d.constant, "size") for shape in slot.shapes for d in shape if d.constant is not None]
    return found


def _literals(text: Code) -> list[Hole]:
    return [Hole(p.value, p.hint) for p in text.pieces if isinstance(p, Lit)]


def _declare(name: str, units: list[Unit]) -> ClassDecl:
    columns = list(zip(*(holes(u) for u in units), strict=True))
    arguments: dict[tuple[Literal, ...], str] = {}
    filled: list[Literal | str] = []
    varies: list[bool] = []
    for column in columns:
        values = tuple(h.value for h in column)
        if all(_equal(v, values[0]) for v in values):
            filled.append(values[0])
            varies.append(False)
            continue
        if values not in arguments:
            arguments[values] = _argument_name(units, values, column[0].hint, arguments.values())
        filled.append(arguments[values])
        varies.append(True)
    return ClassDecl(name, tuple(units), tuple(arguments.values()), tuple(filled), tuple(varies))


def _equal(a: Literal, b: Literal) -> bool:
    return a == b and type(a) is type(b)


def _argument_name(units: list[Unit], values: tuple[Literal, ...], hint: str, taken: Collection[str]) -> str:
    """The param or dim of the block that has these values in the instances, else the attribute's own name."""
    members = {m.name for m in units[0].members}
    unusable = {*taken, *members, *MODULE_ATTRIBUTES, *ADDED_METHODS}  # an argument may become an attribute
    candidates = [*units[0].typed.block.params, *units[0].typed.dims]
    for name in candidates:
        if tuple(_value(u, name) for u in units) == values and name not in unusable:
            return name
    name, count = hint, 2
    while name in unusable:
        name, count = f"{hint}_{count}", count + 1
    return name


def _value(unit: Unit, name: str) -> Value:
    if name in unit.typed.dims:
        return unit.typed.dims[name].constant
    return unit.typed.params.get(name)


# -- names --------------------------------------------------------------------------------------------------


def _names(groups: list[list[Unit]]) -> list[str]:
    """A class is named after its block; several of one block after what tells their places apart."""
    bases = [_camel(g[0].typed.block.name) for g in groups]
    taken = TEXT_NAMES | {"NamedTuple", f"{bases[-1]}Output"}  # what the text calls by these names itself
    names: list[str] = []
    for base, group in zip(bases, groups, strict=True):
        if bases.count(base) > 1:
            base = _qualified(base, group, [g for b, g in zip(bases, groups, strict=True) if b == base])
        name, count = base, 2
        while name in {*names, *taken}:
            name, count = f"{base}{count}", count + 1
        names.append(name)
    return names


def _qualified(base: str, group: list[Unit], rivals: list[list[Unit]]) -> str:
    """The base behind the first path segment that the rivals do not share."""
    own = [re.sub(r"\[\d+\]", "", u.path).split(".") for u in group]
    others = [re.sub(r"\[\d+\]", "", u.path).split(".") for g in rivals if g is not group for u in g]
    for depth in range(max(map(len, own))):
        segments = {p[depth] for p in own if depth < len(p)}
        if len(segments) == 1 and not any(depth < len(p) and p[depth] in segments for p in others):
            return _camel(segments.pop()) + base
    return base


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
