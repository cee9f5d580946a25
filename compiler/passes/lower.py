"""lower: TypedGraph -> Program. Members, steps and entry points;
instances of equal structure share a class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.ir.actions import action_pieces
from compiler.ir.code import Code, State, Var, code, join
from compiler.ir.dims import Dim, dim, symbol
from compiler.ir.graph import Node, OpNode, Ref, RepeatNode, SameNode, UseNode
from compiler.ir.opdef import OpCall, OpFault
from compiler.ir.parameters import Join
from compiler.ir.program import Action as ProgramAction
from compiler.ir.program import Argument, Default, Init, Loop, Member, Program, Slots, Step, Unit
from compiler.ir.typed import TypedBlock, TypedGraph, TypedNode
from compiler.ir.types import TensorType
from compiler.ops.text.context import Context, Text
from compiler.ops.text.styles import Texts
from compiler.ops.text.table import TEXTS
from compiler.passes.classes import group_classes
from compiler.passes.infer_shapes import KEY_LENGTH
from compiler.passes.methods import entry_methods
from compiler.passes.once import kept_once
from compiler.passes.parameters import check_trained, initial_values, parameter_table


def lower(graph: TypedGraph, texts: Texts = TEXTS) -> Program:
    """Raises CompileError for what cannot be written as PyTorch text. texts: how each op is written."""
    diagnostics = Diagnostics()
    lowering = _Lowering(graph.cached, diagnostics, texts)
    root = None
    with diagnostics.recover():
        root = lowering.unit(graph.root)
    diagnostics.check()
    assert root is not None
    spec = graph if graph.joined is None else replace(graph, root=graph.joined.before)
    table, owners = parameter_table(spec)
    check_trained(spec, table, diagnostics)
    inits = initial_values(spec, owners, diagnostics)
    methods = entry_methods(graph, root, diagnostics)
    diagnostics.check()
    if graph.joined is None:
        return Program(graph, group_classes(root), methods, table, inits, table.parameters)
    joins = graph.joined.tensors
    stored, _ = parameter_table(graph)
    return Program(graph, group_classes(root), methods, table, _held(inits, joins), stored.parameters, joins)


def _held(inits: tuple[Init, ...], joins: tuple[Join, ...]) -> tuple[Init, ...]:
    """The initial values of the tensors that the module holds: a joined one has those of its parts."""
    first = {join.parts[0]: join.name for join in joins}
    parts = {part for join in joins for part in join.parts}
    return tuple(
        replace(init, parameter=first.get(init.parameter, init.parameter))
        for init in inits
        if init.parameter in first or init.parameter not in parts
    )


@dataclass
class _Lowering:
    cached: frozenset[Dim]
    diagnostics: Diagnostics
    texts: Texts
    units: dict[int, Unit] = field(default_factory=dict[int, Unit])

    def unit(self, block: TypedBlock) -> Unit:
        """One block instance: its members, its steps, and whether it needs to know of a cache."""
        members: list[Member] = []
        actions: list[ProgramAction] = []
        slots: list[Slots] = []
        defaults = {p.default: p.name for p in block.block.inputs if p.default is not None}
        for typed in block.nodes:
            with self.diagnostics.recover():
                member, added = self._node(typed, block)
                members += member
                actions += added
                slots += _slots(typed)
            for ref, name in defaults.items():
                if ref.node == typed.node.name:
                    actions.append(Default(name, ref))
        actions = kept_once(actions, block)
        arguments = tuple(
            Argument(
                p.name, p.maybe or p.default is not None or (p.pattern is not None and p.pattern.optional)
            )
            for p in block.block.inputs
        )
        states = {p.name for a in actions for p in action_pieces(a) if isinstance(p, State)}
        states |= {"cache"} if slots else set()
        unit = Unit(
            block, arguments, tuple(members), tuple(actions), block.block.outputs, tuple(slots),
            "past" in states, "cache" in states,
        )  # fmt: skip
        self.units[id(block)] = unit
        return unit

    def _node(self, typed: TypedNode, block: TypedBlock) -> tuple[list[Member], list[ProgramAction]]:
        node = typed.node
        match node.action:
            case OpNode():
                return self._op(typed, block, node.name)
            case UseNode():
                unit = self.unit(typed.children[0])
                return [Member(node.name, None, (unit,))], [self._use(typed, unit, node.name)]
            case RepeatNode() as repeat:
                return self._repeat(typed, repeat)
            case SameNode(target=target):
                return [], self._again(typed, block, target)

    def _op(
        self, typed: TypedNode, block: TypedBlock, member: str
    ) -> tuple[list[Member], list[ProgramAction]]:
        text = self._text(typed, block, member)
        members = [Member(member, text.member)] if text.member is not None else []
        return members, list(_steps(typed, text))

    def _text(self, typed: TypedNode, block: TypedBlock, member: str) -> Text:
        node = typed.node
        assert isinstance(node.action, OpNode)
        try:
            return self.texts[node.action.op](
                Context(block, typed, member, self._call(typed, block), self.cached)
            )
        except OpFault as fault:
            attr = node.action.attrs.get(fault.attr)
            span = attr.span if attr is not None else node.span
            raise self.diagnostics.error(
                fault.code, f"`{node.name}`: {fault.message}", span, help=fault.help
            ) from None

    def _call(self, typed: TypedNode, block: TypedBlock) -> OpCall:
        single: dict[str, TensorType] = {}
        lists: dict[str, tuple[TensorType, ...]] = {}
        for port, ref in typed.node.inputs.items():
            if isinstance(ref, tuple):
                lists[port] = tuple(block.type_of(r) for r in ref)
            else:
                single[port] = block.type_of(ref)

        def keys(length: Dim) -> Dim:
            return symbol(KEY_LENGTH) if length in self.cached else length

        return OpCall(single, lists, typed.attrs, named_sizes(block), keys)

    def _use(self, typed: TypedNode, unit: Unit, member: str) -> Step:
        arguments = [
            Code((Var(_single(typed.node, a.name)),)) for a in unit.arguments if a.name in typed.node.inputs
        ]
        arguments += _state_arguments(unit, member)
        call = code("self." + member + "({args})", args=join(arguments, ", "))
        targets = tuple(Ref(typed.node.name, o) for o in typed.node.outputs)
        fallback = typed.node.fallback
        return Step(targets, call, tuple(typed.outputs.values()), typed.node.span, typed.node.guard, fallback)

    def _repeat(self, typed: TypedNode, repeat: RepeatNode) -> tuple[list[Member], list[ProgramAction]]:
        units = tuple(self.unit(child) for child in typed.children)
        first = units[0]
        if len({(unit.uses_past, unit.uses_cache) for unit in units}) > 1:
            message = f"some layers of `{typed.node.name}` remember earlier tokens, others do not"
            raise self.diagnostics.error("bad-repeat", message, typed.node.span)
        kinds = {m: body for body, m in zip(repeat.layers, repeat.modules, strict=True)}
        member = Member(typed.node.name, None, units, tuple(kinds[m] for m in sorted(kinds)))
        arguments: list[Code | None] = []
        for argument in first.arguments:
            if argument.name == repeat.carried:
                arguments.append(None)
            elif argument.name in typed.node.inputs:
                arguments.append(_by_layer(typed.node.inputs[argument.name], repeat))
        arguments += _state_arguments(first, typed.node.name)
        order = None if repeat.modules == tuple(range(len(repeat.modules))) else repeat.modules
        is_counted = any(isinstance(ref, tuple) for ref in typed.node.inputs.values())
        output, found = next(iter(typed.outputs.items()))
        taps = tuple(Ref(typed.node.name, port) for port in typed.outputs if port.isdigit())
        start = _single(typed.node, repeat.carried)
        loop = Loop(
            Ref(typed.node.name, output), typed.node.name, start, tuple(arguments), order, found,
            typed.node.span, first.uses_cache, taps, is_counted,
        )  # fmt: skip
        return [member], [loop]

    def _again(self, typed: TypedNode, block: TypedBlock, target: str) -> list[ProgramAction]:
        original = block.node(target)
        if typed.children:
            return [self._use(typed, self.unit(typed.children[0]), target)]
        assert isinstance(original.node.action, OpNode)
        node = Node(
            typed.node.name, typed.node.span, original.node.action, typed.node.inputs, typed.node.outputs,
            typed.node.guard, typed.node.fallback,
        )  # fmt: skip
        again = TypedNode(node, typed.outputs, typed.attrs, original.weights, typed.flops)
        return list(_steps(again, self._text(again, block, target)))


def named_sizes(block: TypedBlock) -> Callable[[str], Dim | None]:
    """What names in patterns stand for: dims, then params that are sizes."""

    def size(name: str) -> Dim | None:
        value = block.dims.get(name, block.params.get(name))
        if isinstance(value, int) and not isinstance(value, bool):
            return dim(value)
        return value if isinstance(value, Dim) else None

    return size


def _single(node: Node, port: str) -> Ref:
    ref = node.inputs[port]
    assert isinstance(ref, Ref)
    return ref


def _by_layer(wire: Ref | tuple[Ref, ...], repeat: RepeatNode) -> Code:
    """What each layer gets: a value, or `(near, all)[i % 2]`, over the shortest period of the layers."""
    if isinstance(wire, Ref):
        return Code((Var(wire),))
    series = [wire[body] for body in repeat.layers]
    size = len(series)
    period = next(p for p in range(1, size + 1) if all(series[i] == series[i % p] for i in range(size)))
    index = "i" if period == size else f"i % {period}"
    return code("({values})[" + index + "]", values=join([Code((Var(r),)) for r in series[:period]], ", "))


def _state_arguments(unit: Unit, member: str) -> list[Code]:
    """What a block that remembers is handed: how much it remembers, and where."""
    out = [Code((State("past"),))] if unit.uses_past else []
    return [*out, Code((State("cache", member),))] if unit.uses_cache else out


def _steps(typed: TypedNode, text: Text) -> tuple[Step, ...]:
    node = typed.node
    if text.joint:
        targets = tuple(Ref(node.name, o) for o in node.outputs)
        first = next(iter(text.outputs.values()))
        types = tuple(typed.outputs[o] for o in node.outputs)
        return (Step(targets, first, types, node.span, node.guard, node.fallback, text.inline),)
    return tuple(
        Step(
            (Ref(node.name, o),), text.outputs[o], (found,), node.span, node.guard, node.fallback, text.inline
        )
        for o, found in typed.outputs.items()
    )


def _slots(typed: TypedNode) -> list[Slots]:
    action = typed.node.action
    if not isinstance(action, OpNode) or action.op != "cache":
        return []
    if typed.attrs["mode"] == "once":
        return [Slots(typed.node.name, ())]
    return [Slots(typed.node.name, tuple(t.shape for t in typed.outputs.values()))]
