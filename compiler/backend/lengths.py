"""What a method of the root knows of lengths: how much the cache holds, and the bounds that the spec sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from compiler.backend.expressions import Names
from compiler.ir.graph import Ref
from compiler.ir.program import Program
from compiler.passes.infer_shapes import KEY_LENGTH


@dataclass(frozen=True)
class Lengths:
    """The first lines of a method, those before its return, and those behind the default of an input."""

    opening: list[str]
    closing: list[str]
    given: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])


NO_LENGTHS = Lengths([], [])


def forward_lengths(program: Program, names: Names, checked: Collection[str]) -> Lengths:
    """For forward. checked: inputs whose lengths a stage checks."""
    if not program.typed.cached:
        return Lengths(_bounds(program, names, checked), [])
    opening = ['past = 0 if cache is None else cache["past"]']
    counted = _counted(program)
    bound = program.typed.graph.max_dims.get(KEY_LENGTH)
    total = names.add(Ref("", "total"), "total")
    counting = [f"{total} = past + {counted}.shape[1]"]
    if bound is not None:
        counting += _refusal(total, str(bound.value))
    closing = ["if cache is not None:", f'    cache["past"] = {total}']
    bounds = _bounds(program, names, checked)
    if any(p.name == counted and p.default is not None for p in program.root.unit.typed.block.inputs):
        return Lengths([*opening, *bounds], closing, {counted: counting})
    return Lengths([*opening, *counting, *bounds], closing)


def method_lengths(program: Program, names: Names) -> Lengths:
    """For any other method of the root."""
    return Lengths(_bounds(program, names, ()), [])


def _bounds(program: Program, names: Names, checked: Collection[str]) -> list[str]:
    """The checks of the lengths that inputs have."""
    lines: list[str] = []
    for name, bound in program.typed.graph.max_dims.items():
        place = _place(program, name, names) if name != KEY_LENGTH or not program.typed.cached else None
        if place is not None and place[0] not in checked:
            lines += _refusal(f"{place[0]}.shape[{place[1]}]", str(bound.value))
    return lines


def _refusal(length: str, bound: str) -> list[str]:
    return [
        f"if {length} > {bound}:",
        f'    raise ValueError(f"a sequence of {{{length}}} is too long, this model takes {bound} at most")',
    ]


def _place(program: Program, name: str, names: Names) -> tuple[str, int] | None:
    """The argument and axis that have a symbolic length."""
    unit = program.root.unit
    for port, found in unit.typed.inputs.items():
        if Ref(port) in names.names and not unit.typed.block.input(port).maybe:
            for axis, size in enumerate(found.shape):
                if str(size) == name:
                    return names.names[Ref(port)], axis
    return None


def _counted(program: Program) -> str:
    """The input whose tokens fill the cache: what `positions` counts."""
    for typed in program.root.unit.typed.nodes:
        ref = typed.node.inputs.get("x")
        if getattr(typed.node.action, "op", "") != "positions" or not isinstance(ref, Ref):
            continue
        if typed.outputs["t"].shape[0] in program.typed.cached:
            return ref.node
    return program.root.unit.arguments[0].name
