"""What must hold of a program: classes in order, literals accounted for, the tensors of the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compiler.ir.code import Code, Lit
from compiler.ir.parameters import Parameter
from compiler.ir.program import Action, ClassDecl, Default, Loop, Once, Program, Step, Unit
from compiler.ir.verify import InvalidIR, weights


def verify_program(program: Program) -> None:
    """Raises InvalidIR."""
    _verify_order(program)
    for declaration in program.classes:
        _verify_literals(declaration)
    _verify_tensors(program)


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise InvalidIR(message)


def _verify_order(program: Program) -> None:
    """A class stands once, behind the classes of its members; the root's is the last."""
    names = [c.name for c in program.classes]
    _need(len(set(names)) == len(names), f"two classes of one name: {names}")
    declared: set[int] = set()
    for declaration in program.classes:
        for unit in declaration.units:
            for member in unit.members:
                for child in member.children:
                    _need(
                        id(child) in declared,
                        f"class {declaration.name} stands before the class of {member.name}",
                    )
        declared |= {id(unit) for unit in declaration.units}
    _need(program.root.unit.typed is program.typed.root, "the last class is not the root's")


def _verify_literals(declaration: ClassDecl) -> None:
    """Each literal of each instance is in the text, the same in all, or an argument."""
    where = f"class {declaration.name}"
    _need(
        len(declaration.holes) == len(declaration.varies),
        f"{where}: literals and their kinds differ in number",
    )
    arguments = {h for h, varies in zip(declaration.holes, declaration.varies, strict=True) if varies}
    _need(
        arguments == set(declaration.arguments),
        f"{where}: arguments that nothing uses, or literals without one",
    )
    for unit in declaration.units:
        found = list(_literals(unit))
        _need(len(found) == len(declaration.holes), f"{where}: {unit.path} has {len(found)} literals")
        for value, hole, varies in zip(found, declaration.holes, declaration.varies, strict=True):
            _need(
                varies or (value == hole and type(value) is type(hole)),
                f"{where}: {unit.path} has {value!r} for {hole!r}",
            )


def _literals(unit: Unit) -> Iterator[object]:
    """The literals of a unit in text order: members and the children they make, steps, cache slots."""
    for member in unit.members:
        if member.code is not None:
            yield from _of(member.code)
        if member.layers is not None and len(set(member.layers)) == 1:
            yield len(member.layers)
        for child in member.children:
            yield from _literals(child)
    for action in unit.actions:
        yield from _in_action(action)
    for slot in unit.slots:
        yield from (size.constant for shape in slot.shapes for size in shape if size.constant is not None)


def _in_action(action: Action) -> Iterator[object]:
    match action:
        case Step(code=code):
            yield from _of(code)
        case Loop(arguments=arguments):
            yield from (value for code in arguments if code is not None for value in _of(code))
        case Once(actions=inner):
            yield from (value for each in inner for value in _in_action(each))
        case Default():
            return


def _of(code: Code) -> Iterator[object]:
    return (p.value for p in code.pieces if isinstance(p, Lit))


def _held(program: Program) -> Iterator[Parameter]:
    """The spec's tensors as the module holds them: those that are joined lie behind each other in one."""
    own = {p.name: p for p in program.table.parameters}
    for join in program.joins:
        _need(own.keys() >= {*join.parts}, f"{join.name} joins what is no tensor of the spec: {join.parts}")
        first, *others = (own.pop(name) for name in join.parts)
        rows = first.shape[0] + sum(p.shape[0] for p in others)
        yield replace(first, name=join.name, shape=(rows, *first.shape[1:]))
    yield from own.values()


def _verify_tensors(program: Program) -> None:
    """The table is what the typed graph holds, ties have owners, every tensor has one initial value."""
    walked = sorted(weights(program.typed.root))
    table = sorted((p.name, p.shape, p.dtype) for p in _held(program))
    _need(walked == table, f"the table and the graph differ: {sorted(set(walked) ^ set(table))[:4]}")
    stored = sorted((p.name, p.shape, p.dtype) for p in program.stored)
    _need(walked == stored, f"what is stored and the graph differ: {sorted(set(walked) ^ set(stored))[:4]}")
    names = [name for name, _, _ in table]
    _need(len(set(names)) == len(names), "two tensors of one name")
    for alias, owner in program.table.ties.items():
        _need(owner in names and alias not in names, f"{alias} is tied to {owner}, which is no tensor")
    _need(
        sorted(i.parameter for i in program.inits) == names, "tensors without an initial value, or with two"
    )
