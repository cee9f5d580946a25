"""The steps of a block under construction: what a node form comes to, and how it is guarded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler.ir.graph import Action, Block, Node, Ref
from compiler.passes.scope import Binding
from compiler.passes.wiring import Port, Wire
from compiler.syntax.yaml import Key


@dataclass(frozen=True)
class Built:
    """What a node came to: its step (None when it is only another name) and the bindings of its outputs."""

    node: Node | None
    outputs: dict[str, Binding | None]


@dataclass(frozen=True)
class Instance:
    """A new block, and what it captures of the scope that holds it: input port -> value there."""

    block: Block
    captured: Mapping[str, Ref]


@dataclass(frozen=True)
class Step:
    """An action with its output ports, the captures of its blocks, and the outputs that may be None."""

    action: Action
    outputs: tuple[str, ...]
    captured: Mapping[str, Ref | tuple[Ref, ...]] = field(default_factory=dict[str, Ref | tuple[Ref, ...]])
    maybe: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Shape:
    """The surface of a node, kept for `same_as`."""

    ports: tuple[Port, ...]
    outputs: tuple[str, ...]
    open_inputs: bool


def built(
    key: Key,
    step: Step,
    wires: Mapping[str, Wire],
    shape: Shape,
    guard: tuple[Ref, ...] = (),
    fallback: Binding | None = None,
) -> Built:
    """The node of a step, guarded by the inputs it needs that may be None."""
    variadic = {p.name for p in shape.ports if p.variadic}
    optional = {p.name for p in shape.ports if p.optional}
    inputs: dict[str, Ref | tuple[Ref, ...]] = {}
    for name, found in wires.items():
        if found.absent:
            continue
        refs = tuple(b.ref for b in found.bindings)
        inputs[name] = refs if name in variadic else refs[0]
        if name not in optional:
            guard += tuple(b.ref for b in found.bindings if b.maybe and b.ref not in guard)
    inputs |= step.captured
    spans = {name: found.span for name, found in wires.items()}
    spans |= {f"{n}[{k}]": s for n, w in wires.items() if n in variadic for k, s in enumerate(w.spans)}
    node = Node(
        str(key),
        key.span,
        step.action,
        inputs,
        step.outputs,
        guard,
        fallback.ref if fallback else None,
        spans,
    )
    unsure = bool(guard) and fallback is None
    bindings: dict[str, Binding | None] = {
        o: Binding(Ref(str(key), o), unsure or o in step.maybe) for o in step.outputs
    }
    bindings[""] = next(iter(bindings.values()), None)
    return Built(node, bindings)


def join(path: str, key: str) -> str:
    """The path of a node in a block instance."""
    return f"{path}.{key}" if path else key
