"""A repeat: which layers are alike, and one elaboration for each distinct one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.diagnostics.diagnostic import Abort, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import Block, RepeatNode
from compiler.ir.values import Residual, Value, spell
from compiler.passes.layers import united
from compiler.passes.origins import origins
from compiler.passes.paths import set_in_node
from compiler.passes.scope import Scope
from compiler.passes.steps import Built, Instance, Step, built, join
from compiler.passes.wiring import Wire
from compiler.syntax.expr import ExprError, free_names, parse_expr
from compiler.syntax.model_spec import NodeSpec
from compiler.syntax.schema import Value as Written
from compiler.syntax.yaml import Key, Located, Map, Seq

if TYPE_CHECKING:
    from compiler.passes.elaborate import Elaborator

MAX_LAYERS = 4096
#: What a repeat adds to the names of its expressions.
INDEX = {"i": "the layer's number", "n": "the number of layers"}
AT_HELP = 'write a slice "0:3", a list [-1] or a condition "=i % 2 == 0"'


@dataclass(frozen=True)
class Layer:
    """What tells a layer from others: its kind, the paths its rules set, and the values that mention `i`."""

    label: str
    edits: tuple[tuple[Key, Written], ...]
    signature: tuple[Value, ...]


def elaborate_repeat(
    elaborator: Elaborator, key: Key, spec: NodeSpec, scope: Scope, wires: Mapping[str, Wire]
) -> Built:
    """The step of a node with `repeat`."""
    assert spec.repeat is not None
    count = _count(spec.repeat, scope)
    _check_index(spec, scope)
    earlier = len(scope.diagnostics.items)
    layers = _layers(spec, count, scope)
    _check_rules(spec, count, scope)
    made: list[Instance] = []
    index: dict[tuple[object, ...], int] = {}
    labels: list[str] = []
    order: list[int] = []
    shape = None
    for i, layer in enumerate(layers):
        identity = (layer.label, tuple((str(p), id(v)) for p, v in layer.edits), layer.signature)
        if identity not in index:
            index[identity] = len(made)
            overlay = scope.layer(i, count)
            node = _edited(spec, layer, scope)
            if node is None:
                continue
            target = elaborator.targets.find(node, overlay)
            if target.block is None:
                raise scope.diagnostics.error(
                    "bad-repeat", f"a repeat needs a block, {target.title} is none", key.span
                )
            shape = elaborator.shape(target)
            path = join(scope.path, str(key)) + (f"[{len(made)}]" if made else "")
            made.append(elaborator.instance(target, wires, path, scope, key.span))
            labels.append(layer.label)
        order.append(index[identity])
    if shape is None or len(made) < len(index):
        raise Abort(key)
    bodies, captured = united(made)
    scope.repeats[str(key)] = count
    carried = next((p.name for p in shape.ports if not p.optional), "")
    action = RepeatNode(bodies, tuple(order), _modules(spec, count, scope), carried, tuple(labels))
    if shape.outputs and not bodies[0].outputs and len(scope.diagnostics.items) > earlier:
        raise Abort(key)  # faults inside the block left it without its outputs
    _check_seam(bodies[0], carried, key, scope)
    return built(key, Step(action, tuple(bodies[0].outputs)[:1], captured), wires, shape)


def _edited(spec: NodeSpec, layer: Layer, scope: Scope) -> NodeSpec | None:
    """The node as a layer's rules make it; None where one of them reaches nothing."""
    node, faults = spec, 0
    for edit, value in layer.edits:
        try:
            node = set_in_node(node, edit, value, edit.span, scope.diagnostics)
        except Abort:
            faults += 1
    return None if faults else node


def _count(written: Written, scope: Scope) -> int:
    value = scope.value(written)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_LAYERS:
        raise scope.diagnostics.error(
            "bad-repeat",
            f"a repeat needs a whole number from 1 to {MAX_LAYERS}, not `{spell(value)}`",
            written.span,
            notes=origins(written, scope),
            help="the count closes over params only" if isinstance(value, Residual) else "",
        )
    return value


def _check_seam(body: Block, carried: str, key: Key, scope: Scope) -> None:
    if not carried or not body.outputs:
        raise scope.diagnostics.error(
            "bad-repeat", f"the block `{body.name}` has no input and output to chain layers by", key.span
        )


def _check_index(spec: NodeSpec, scope: Scope) -> None:
    """Where a repeat says `i` or `n`, no param of that name is in scope: it would be hidden in silence."""
    rules = [v for group in (*spec.kinds.values(), *(w.set for w in spec.where)) for v in group.values()]
    written = [*spec.params.values(), *rules, *(w.at for w in spec.where)]
    written += [spec.reuse] if spec.reuse is not None else []
    faults: list[Abort] = []
    for name, meaning in INDEX.items():
        holder = scope.holder(name)
        hidden = holder.given[name].name_span if holder is not None else None
        uses = _mentions(written, {name}) if hidden is not None else []
        if hidden is not None and uses:
            message = f"in a repeat `{name}` is {meaning}, and hides what else has that name"
            notes = (Note(f"the other `{name}`", hidden),)
            cure = f"rename the other `{name}`"
            faults.append(scope.diagnostics.error("bad-name", message, uses[0].span, notes=notes, help=cure))
    if faults:
        raise faults[0]


def _layers(spec: NodeSpec, n: int, scope: Scope) -> list[Layer]:
    """All layers; where nothing tells them apart, one is looked at."""
    if spec.kinds or spec.where or _mentions(spec.params.values(), INDEX.keys()):
        return [_layer(spec, i, n, scope) for i in range(n)]
    return [_layer(spec, 0, n, scope)] * n


def _layer(spec: NodeSpec, i: int, n: int, scope: Scope) -> Layer:
    overlay = scope.layer(i, n)
    kind = _kind(spec, i, n, scope)
    edits: dict[str, tuple[Key, Written]] = {}
    groups: list[Mapping[Key, Written]] = [spec.kinds[k] for k in spec.kinds if k == kind]
    groups += [w.set for w in spec.where if i in _layers_at(w.at, n, scope)]
    for group in groups:
        for path, value in group.items():
            if str(path) in edits:
                raise scope.diagnostics.error(
                    "conflict",
                    f"two rules set `{path}` at layer {i}",
                    path.span,
                    notes=(Note("the other", edits[str(path)][0].span),),
                )
            edits[str(path)] = (path, value)
    written = [*spec.params.values(), *(v for _, v in edits.values())]
    signature = tuple(overlay.value(v) for v in _mentions(written, INDEX.keys()))
    return Layer(kind, tuple(edits.values()), signature)


def _mentions(values: Iterable[Written], names: Set[str]) -> list[Located]:
    """The expressions in values that mention one of the names."""
    out: list[Located] = []
    for value in values:
        if isinstance(value, Map):
            out += _mentions(value.values(), names)
        elif isinstance(value, Seq):
            out += _mentions(value, names)
        elif isinstance(value.value, str) and value.value.startswith("="):
            try:
                if free_names(parse_expr(value.value[1:])) & names:
                    out.append(value)
            except ExprError:
                continue  # reported where the value is evaluated
    return out


def _kind(spec: NodeSpec, i: int, n: int, scope: Scope) -> str:
    """The kind of layer i under `order`, which repeats until the layers are used up."""
    if spec.order is None:
        return ""
    order = scope.value(spec.order)
    if not isinstance(order, tuple) or not order:
        raise scope.diagnostics.error("bad-repeat", "`order` is a list of kinds", spec.order.span)
    for name in order:
        if name not in spec.kinds:
            raise scope.diagnostics.error(
                "bad-repeat",
                f"there is no kind `{name}`",
                spec.order.span,
                help=did_you_mean(str(name), spec.kinds),
            )
    if n % len(order) and spec.tail is None:
        raise scope.diagnostics.error(
            "bad-repeat",
            f"the order of {len(order)} kinds does not divide {n} layers",
            spec.order.span,
            help="add `tail: truncate` if the last round may be cut",
        )
    return str(order[i % len(order)])


def _layers_at(written: Written, n: int, scope: Scope) -> frozenset[int]:
    """The layers that `at` names: a list, a slice "0:3", or a condition on i and n."""
    if isinstance(written, Located) and isinstance(written.value, str):
        if written.value.startswith("="):
            found = [scope.layer(i, n).value(written) for i in range(n)]
            if not all(isinstance(v, bool | tuple) for v in found):
                message = f"`at` is a condition on `i`, not `{spell(found[0])}`"
                raise scope.diagnostics.error("bad-repeat", message, written.span, help=AT_HELP)
            if all(isinstance(v, bool) for v in found):
                return frozenset(i for i in range(n) if found[i])
        parts = written.value.split(":")
        if 2 <= len(parts) <= 3 and all(p.lstrip("-").isdigit() or not p for p in parts):
            return frozenset(range(n)[slice(*(int(p) if p else None for p in parts))])
    value = scope.value(written)
    if isinstance(value, tuple) and all(isinstance(v, int) and -n <= v < n for v in value):
        return frozenset(v % n for v in value)
    raise scope.diagnostics.error(
        "bad-repeat",
        f"`at` is no list of layers below {n}, slice or condition",
        written.span,
        help=AT_HELP,
    )


def _check_rules(spec: NodeSpec, n: int, scope: Scope) -> None:
    for rule in spec.where:
        if not _layers_at(rule.at, n, scope):
            message = f"the rule matches none of the {n} layers"
            scope.diagnostics.error("bad-repeat", message, rule.at.span)
    if spec.order is None and spec.kinds:
        kind = next(iter(spec.kinds))
        scope.diagnostics.error(
            "bad-repeat", f"the kind `{kind}` stands in no order", kind.span, help="add `order:`"
        )
    if spec.tail is not None and spec.tail.value != "truncate":
        message = f"`tail` cannot be `{spec.tail.value}`"
        scope.diagnostics.error("bad-repeat", message, spec.tail.span, help="write `tail: truncate`")
    if isinstance(spec.order, Seq):  # one that a param gives may leave kinds out
        order = scope.value(spec.order)
        for kind in spec.kinds:
            if kind not in order:
                scope.diagnostics.error("bad-repeat", f"the kind `{kind}` stands in no order", kind.span)


def _modules(spec: NodeSpec, n: int, scope: Scope) -> tuple[int, ...]:
    """The module of each layer: its own, or the one that `reuse` names."""
    if spec.reuse is None:
        return tuple(range(n))
    modules = tuple(scope.layer(i, n).value(spec.reuse) for i in range(n))
    for i, module in enumerate(modules):
        if not isinstance(module, int) or isinstance(module, bool) or not 0 <= module < n:
            message = f"`reuse` gives `{spell(module)}` for layer {i}: modules are 0 to {n - 1}"
            raise scope.diagnostics.error("bad-repeat", message, spec.reuse.span)
    return modules
