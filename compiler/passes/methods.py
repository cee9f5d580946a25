"""Entry points beside forward: the steps that their outputs need, and whether forward may call them."""

from __future__ import annotations

from dataclasses import replace

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.ir.actions import action_pieces, action_refs, targets
from compiler.ir.code import Code, State, Var, code, join
from compiler.ir.graph import Method, OpNode, Ref
from compiler.ir.program import Action, Argument, Loop, MethodDecl, Step, Unit
from compiler.ir.typed import TypedBlock, TypedGraph
from compiler.ops.table import OPS


def entry_methods(graph: TypedGraph, root: Unit, diagnostics: Diagnostics) -> tuple[MethodDecl, ...]:
    """The methods of a spec as programs over the root's members."""
    out: list[MethodDecl] = []
    for method in graph.graph.methods:
        with diagnostics.recover():
            out.append(_method(method, root, diagnostics))
    return tuple(_stage(m, root, tuple(out)) for m in out)


def _method(method: Method, root: Unit, diagnostics: Diagnostics) -> MethodDecl:
    actions = tuple(needed(root.actions, set(method.outputs.values()), frozenset(method.cut.values())))
    reads = {r for a in actions for r in action_refs(a)} | set(method.outputs.values())
    cached = any(isinstance(p, State) for a in actions for p in action_pieces(a))
    arguments = [Argument(name, False) for name, ref in method.cut.items() if ref in reads]
    arguments += [a for a in root.arguments if Ref(a.name) in reads - set(method.cut.values())]
    if any(a.name == method.name for a in root.arguments) or any(m.name == method.name for m in root.members):
        raise diagnostics.error("bad-name", f"`{method.name}` is already a node or input", method.span)
    cut = {name: ref for name, ref in method.cut.items() if ref in reads}
    return MethodDecl(method.name, method.summary, tuple(arguments), actions, method.outputs, cut, cached)


def _stage(method: MethodDecl, root: Unit, rivals: tuple[MethodDecl, ...]) -> MethodDecl:
    """Whether forward may call the method: it has one output, and only that leaves its steps."""
    own = {id(a) for a in method.actions}
    if (
        method.cached
        or len(method.outputs) != 1
        or any(own & {id(a) for a in m.actions} for m in rivals if m is not method)
    ):
        return method
    (result,) = method.outputs.values()
    made = {t for a in method.actions for t in targets(a)}
    outside = {r for a in root.actions if id(a) not in own for r in action_refs(a)} | set(
        root.outputs.values()
    )
    if result not in outside or (outside & made) - {result}:
        return method
    return replace(method, is_stage=True)


def staged(actions: tuple[Action, ...], methods: tuple[MethodDecl, ...]) -> tuple[Action, ...]:
    """Forward's actions, with a call in place of the steps of each method that it may call."""
    for method in methods:
        if not method.is_stage:
            continue
        (result,) = method.outputs.values()
        own = {id(a) for a in method.actions}
        last = method.actions[-1]
        arguments = join([Code((Var(Ref(a.name)),)) for a in method.arguments], ", ")
        call = code("self." + method.name + "({args})", args=arguments)
        step = Step((result,), call, (), last.span) if isinstance(last, Step | Loop) else None
        assert step is not None
        actions = tuple(step if a is last else a for a in actions if a is last or id(a) not in own)
    return actions


def needed(actions: tuple[Action, ...], wanted: set[Ref], known: frozenset[Ref]) -> list[Action]:
    """The actions that the wanted values depend on, in order; known values are given."""
    keep: list[Action] = []
    wanted = set(wanted)
    for action in reversed(actions):
        made = set(targets(action))
        if made & wanted and not made <= known:
            keep.append(action)
            wanted |= set(action_refs(action)) - known
    return keep[::-1]


def last_position(graph: TypedGraph, output: Ref) -> Ref:
    """The value from which on every op works on each position alone, up to an output.

    Keeping only the last position there gives the last position of the output.
    """
    root = graph.root
    early = root.block.outputs[root.block.early].node if root.block.early else ""  # labels go with no `last`
    ref = output
    while ref.node not in root.inputs:
        before = _position_before(root, ref)
        if before is None:
            return ref
        readers = [n for n in root.nodes for r in n.node.refs() if r == before and n.node.name != early]
        if len(readers) != 1 or before in root.block.outputs.values():
            return ref
        ref = before
    return ref


def _position_before(root: TypedBlock, ref: Ref) -> Ref | None:
    """The value whose positions the op behind `ref` takes one by one, beside weights that have none."""
    typed = root.node(ref.node)
    node = typed.node
    if not isinstance(node.action, OpNode) or not OPS[node.action.op].positionwise:
        return None
    if typed.attrs.get("pattern") is not None:
        return None  # a map that may pair a position with others
    sequences = [r for r in node.refs() if root.type_of(r).rank > 1]
    return sequences[0] if len(sequences) == 1 and root.type_of(sequences[0]).rank > 2 else None
