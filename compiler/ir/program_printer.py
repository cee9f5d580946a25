"""The canonical text of the program: classes with members and steps, tensors, ties, initial values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compiler.ir.code import Code, Lit, Size, State, Var
from compiler.ir.flow import flow
from compiler.ir.graph import Ref
from compiler.ir.program import (
    Action,
    ClassDecl,
    Default,
    Loop,
    Member,
    MethodDecl,
    Once,
    Program,
    Step,
    Unit,
)

Lines = Iterator[str]


def print_program(program: Program) -> str:
    """Literals stand in angle brackets: those that vary between instances as the argument they become."""
    names = {id(unit): c.name for c in program.classes for unit in c.units}
    lines = [f"program {program.name}"]
    for declaration in program.classes:
        lines += ["", *_class(declaration, names)]
    for method in program.methods:
        lines += ["", *_method(method)]
    lines += ["", "tensors"]
    lines += [f"  {p.name}: {p.dtype}{list(p.shape)}" for p in program.stored]
    lines += [f"  {alias} = {owner}" for alias, owner in program.table.ties.items()]
    lines += ["", "initial values"]
    lines += [f"  {i.parameter} ({i.owner}): {flow(i.value)}" for i in program.inits]
    return "\n".join(lines) + "\n"


def _class(declaration: ClassDecl, names: dict[int, str]) -> Lines:
    unit = declaration.unit
    places = ", ".join(u.path or "the root" for u in declaration.units)
    made_with = ", ".join(declaration.arguments)
    yield f"class {declaration.name}({made_with}) of `{unit.typed.block.name}` at {places}"
    varying = [str(h) for h, varies in zip(declaration.holes, declaration.varies, strict=True) if varies]
    if varying:
        yield f"  varies: {', '.join(varying)}"
    for member in unit.members:
        yield f"  self.{member.name} = {_member(member, names)}"
    states = [name for name, used in (("past", unit.uses_past), ("cache", unit.uses_cache)) if used]
    arguments = [a.name + ("?" if a.optional else "") for a in unit.arguments]
    yield f"  forward({', '.join([*arguments, *states])})"
    yield from _steps(unit.actions, unit.outputs)
    yield from _slots(unit)


def _slots(unit: Unit) -> Lines:
    for slot in unit.slots:
        shapes = ", ".join("[" + ", ".join(map(str, s)) + "]" for s in slot.shapes)
        yield f"  keeps {slot.name}: {shapes}"


def _method(method: MethodDecl) -> Lines:
    arguments = [a.name + ("?" if a.optional else "") for a in method.arguments]
    cut = "".join(f", {name} for {ref}" for name, ref in method.cut.items())
    stage = (" called by forward" if method.is_stage else "") + (", cached" if method.cached else "")
    yield f"method {method.name}({', '.join(arguments)}){stage}{cut}"
    yield from _steps(method.actions, method.outputs)


def _steps(actions: tuple[Action, ...], outputs: Mapping[str, Ref]) -> Lines:
    for action in actions:
        yield from _action(action, "    ")
    yield "    return " + ", ".join(f"{name}={ref}" for name, ref in outputs.items())


def _member(member: Member, names: dict[int, str]) -> str:
    if member.code is not None:
        return _code(member.code)
    classes = [names[id(child)] for child in member.children]
    if member.layers is None:
        return classes[0]
    return "[" + ", ".join(classes[k] for k in member.layers) + "]"


def _action(action: Action, indent: str) -> Lines:
    match action:
        case Step():
            yield indent + _step(action)
        case Loop():
            yield indent + _loop(action)
        case Default():
            yield f"{indent}{action.name} = {action.value} if absent"
        case Once():
            yield f"{indent}{', '.join(map(str, action.targets))} = kept as {action.name}, computed once:"
            for inner in action.actions:
                yield from _action(inner, indent + "  ")


def _step(action: Step) -> str:
    targets = ", ".join(map(str, action.targets))
    types = ", ".join(map(str, action.types))
    guard = f" if {', '.join(map(str, action.guard))}" if action.guard else ""
    other = f" else {action.fallback}" if action.fallback is not None else ""
    keep = "" if action.inline else " (a line of its own)"
    return f"{targets} = {_code(action.code)}{guard}{other} -> {types}{keep}"


def _loop(action: Loop) -> str:
    arguments = ", ".join("carried" if a is None else _code(a) for a in action.arguments)
    order = f" in order {list(action.order)}" if action.order is not None else ""
    cached = ", cached" if action.cached else ""
    taps = f", keeps {', '.join(map(str, action.taps))}" if action.taps else ""
    return (
        f"{action.target} = each of self.{action.member}{order} from {action.start}({arguments})"
        f" -> {action.type}{cached}{taps}"
    )


def _code(code: Code) -> str:
    return "".join(_piece(p) for p in code.pieces)


def _piece(piece: object) -> str:
    match piece:
        case Lit(value=value):
            return f"<{value!r}>"
        case Var(ref=ref):
            return str(ref)
        case Size(size=size):
            return f"({size})"
        case State(name=name, member=member):
            return f"{name}[{member}]" if member else name
        case _:
            return str(piece)
