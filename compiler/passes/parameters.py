"""The table of a spec's tensors, read off the typed graph, and the initial value of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import OpNode, RepeatNode, SameNode
from compiler.ir.opdef import Weight
from compiler.ir.parameters import Parameter, ParameterTable, ParamValue, Scalar
from compiler.ir.program import Init
from compiler.ir.typed import TypedBlock, TypedGraph, TypedNode
from compiler.ir.values import Value


@dataclass(frozen=True)
class Owner:
    """The op that owns a tensor: `linear.weight`; for a `parameter` op the weight has no name."""

    op: str
    weight: Weight

    @property
    def rule(self) -> str:
        """What an init rule under `ops` calls it: `linear.weight`, also where the map is adapted."""
        if self.op == "lora_linear" and self.weight.name in ("weight", "bias"):
            return f"linear.{self.weight.name}"
        return f"{self.op}.{self.weight.name}" if self.weight.name else self.op


_Owned: TypeAlias = tuple[Owner, Parameter]


def parameter_table(graph: TypedGraph) -> tuple[ParameterTable, Mapping[str, Owner]]:
    """Every tensor of the module in state-dict order, and who owns it."""
    parameters: list[Parameter] = []
    owners: dict[str, Owner] = {}
    for owner, parameter in _tensors(graph.root, {}):
        parameters.append(parameter)
        owners[parameter.name] = owner
    ties = dict(_ties(graph.root, {}))
    root = graph.root
    values = {n: _plain(v) for n, v in root.params.items() if _is_plain(v)}
    table = ParameterTable(root.block.name, graph.graph.parents, tuple(parameters), ties, values)
    return table, owners


def _tensors(block: TypedBlock, known: dict[int, list[_Owned]]) -> list[_Owned]:
    """A module's own tensors come first, then those of its members: so torch orders them.

    known: what was found by a block's identity, for layers that are alike share theirs.
    """
    if id(block) in known:
        return known[id(block)]
    found: list[_Owned] = []
    for typed in sorted(block.nodes, key=lambda t: all(w.name for w in t.weights)):
        action = typed.node.action
        for weight in typed.weights:
            assert isinstance(action, OpNode)
            name = typed.node.name + (f".{weight.name}" if weight.name else "")
            shape = tuple(d.constant or 0 for d in weight.shape)
            adapter = weight.name in ("lora_a", "lora_b")
            parameter = Parameter(name, shape, weight.dtype, typed.node.span, adapter)
            found.append((Owner(action.op, weight), parameter))
        for path, child in children(typed):
            for owner, p in _tensors(child, known):
                found.append((owner, Parameter(path + p.name, p.shape, p.dtype, p.span, p.adapter)))
    known[id(block)] = found
    return found


def children(typed: TypedNode) -> Iterator[tuple[str, TypedBlock]]:
    """The modules below a node: what their tensors' names begin with, and the block."""
    name, action = typed.node.name, typed.node.action
    if isinstance(action, RepeatNode):
        kinds = {m: body for body, m in zip(action.layers, action.modules, strict=True)}
        for module in sorted(kinds):
            yield f"{name}.{module}.", typed.children[kinds[module]]
    elif typed.children and typed.weights == () and not isinstance(action, SameNode):
        yield f"{name}.", typed.children[0]


def _ties(block: TypedBlock, known: dict[int, list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """(the name that a tensor is also asked for by, its own). known: as for `_tensors`."""
    if id(block) in known:
        return known[id(block)]
    found: list[tuple[str, str]] = []
    for typed in block.nodes:
        if isinstance(typed.node.action, OpNode):
            shares = typed.node.action.shares.items()
            found += [(f"{typed.node.name}.{weight}", str(attr.value)) for weight, attr in shares]
        for path, child in children(typed):
            found += [(path + alias, path + target) for alias, target in _ties(child, known)]
    known[id(block)] = found
    return found


def _is_scalar(value: Value) -> bool:
    return value is None or isinstance(value, int | float | bool | str | Fraction)


def _is_plain(value: Value) -> bool:
    return all(map(_is_scalar, value)) if isinstance(value, tuple) else _is_scalar(value)


def _plain(value: Value) -> ParamValue:
    return tuple(map(_scalar, value)) if isinstance(value, tuple) else _scalar(value)


def _scalar(value: Value) -> Scalar:
    return float(value) if isinstance(value, Fraction) else value


def check_trained(graph: TypedGraph, table: ParameterTable, diagnostics: Diagnostics) -> None:
    """Each path of `adapters.train` reaches a tensor."""
    adapters = graph.graph.adapters
    for path in adapters.train if adapters is not None else ():
        if not any(path.reaches(p.name) for p in table.parameters):
            nodes = {n.node.name for n in graph.root.nodes if n.weights or n.children}
            diagnostics.error(
                "bad-path", f"`{path.text}` reaches no weight", path.span, help=did_you_mean(path.text, nodes)
            )


def initial_values(
    graph: TypedGraph, owners: Mapping[str, Owner], diagnostics: Diagnostics
) -> tuple[Init, ...]:
    """Each tensor's rule: the last path rule that reaches it, the rule of its op, or the op's own default."""
    rules = graph.graph.init
    values: dict[str, Value] = {}
    used: set[str] = set()
    patterns = [tuple(rule.pattern.split(".")) for rule in rules]
    for name, owner in owners.items():
        values[name] = owner.weight.init
        path, kind = name.split("."), owner.rule
        for rule, pattern in zip(rules, patterns, strict=True):
            if _reaches(pattern, path) if rule.by_path else rule.pattern == kind:
                values[name] = rule.value
                used.add(rule.pattern)
                if rule.value == "xavier_uniform" and len(owner.weight.shape) < 2:
                    message = f"`xavier_uniform` needs two axes, `{name}` has {len(owner.weight.shape)}"
                    diagnostics.error("bad-value", message, rule.span)
    known = {o.rule for o in owners.values()}
    for rule in rules:
        if rule.pattern not in used:
            cure = did_you_mean(rule.pattern, owners if rule.by_path else known)
            diagnostics.error(
                "rule-unused", f"the init rule `{rule.pattern}` reaches no weight", rule.span, help=cure
            )
    return tuple(Init(name, owner.rule, values[name]) for name, owner in owners.items())


def _reaches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    return len(pattern) == len(path) and all(p in ("*", s) for p, s in zip(pattern, path, strict=True))
