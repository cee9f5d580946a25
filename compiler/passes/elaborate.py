"""Elaboration: block definitions become instances, names bound, closures lifted, absence decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from compiler.diagnostics.diagnostic import Abort, Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import Attr, Block, InputPort, Node, OpNode, Ref, SameNode, UseNode
from compiler.ir.values import Value
from compiler.passes.attributes import attributes
from compiler.passes.origins import origins
from compiler.passes.repeat import elaborate_repeat
from compiler.passes.scope import Binding, Given, Scope
from compiler.passes.signature import InputDecl, check_param, dim_names, input_decls, param_decls
from compiler.passes.steps import Built, Instance, Shape, Step, built, join
from compiler.passes.targets import Target, Targets
from compiler.passes.wiring import Port, Site, Wire, wire
from compiler.source.text import Span
from compiler.syntax.expr import Call, Name, parse_expr
from compiler.syntax.model_spec import Body, NodeSpec
from compiler.syntax.schema import Value as Written
from compiler.syntax.yaml import Key, Located, Map

MAX_DEPTH = 40
MAX_INSTANCES = 20_000


@dataclass
class Elaborator:
    """Elaborates block definitions into instances, depth first, in document order."""

    targets: Targets
    diagnostics: Diagnostics
    instances: int = 0
    is_endless: bool = False
    shapes: dict[tuple[int, str], Shape] = field(default_factory=dict[tuple[int, str], Shape])

    # -- blocks ---------------------------------------------------------------------------------------------

    def open_scope(
        self, body: Body, scope: Scope, wires: Mapping[str, Wire] | None, span: Span
    ) -> tuple[InputDecl, ...]:
        """Fill a scope with a body's params, dims and inputs.

        wires: None for the root, whose inputs all arrive. span: the use.
        """
        given = dict(scope.given)
        decls = param_decls(body, self.diagnostics)
        for name in given:
            if name not in decls:
                self.diagnostics.error(
                    "unknown-param",
                    f"{scope.title} has no param `{name}`",
                    given[name].name_span,
                    help=did_you_mean(name, decls),
                )
        for name, decl in decls.items():
            if name not in given and decl.default is not None:
                scope.given[name] = Given(decl.default, scope)
            elif name not in given:
                scope.unset.add(name)
                self.diagnostics.error(
                    "missing-param",
                    f"{scope.title} needs the param `{name}`",
                    span,
                    notes=(Note("declared here", decl.span),) if decl.span is not span else (),
                    help=f"add `with: {{{name}: ...}}`" if scope.parent is not None else "",
                )
        scope.unset |= {str(k) for k in body.params if k not in decls}
        scope.given |= {str(k): Given(v, scope) for k, v in body.let.items()}
        inputs = input_decls(body, self.diagnostics)
        scope.broken |= {str(k) for k in body.inputs} - {d.name for d in inputs}
        scope.vague = bool(scope.broken)
        scope.dims = dim_names(inputs, body)
        scope.reserved = {str(k) for k in body.nodes} | {d.name for d in inputs}
        scope.removed = {str(t.value): t.span for t in body.remove}
        scope.later = {str(k): k.span for k in body.nodes}
        for port in inputs:
            if wires is None:
                maybe = port.pattern.optional and port.default is None
                scope.names[port.name] = {"": Binding(Ref(port.name), maybe)}
            elif port.name in wires and not wires[port.name].absent:
                scope.names[port.name] = {"": Binding(Ref(port.name), wires[port.name].bindings[0].maybe)}
            else:
                scope.names[port.name] = {"": None}
        for name, param in decls.items():
            with self.diagnostics.recover():
                default = scope.value(param.default) if param.default is not None and name in given else None
                check_param(param, scope, default)
        return inputs

    def body(self, body: Body, scope: Scope, inputs: tuple[InputDecl, ...], name: str, span: Span) -> Block:
        """The instance of a definition in a scope that is already open."""
        nodes: list[Node] = []
        for key, spec in body.nodes.items():
            try:
                self._no_shadow(key, inputs)
                built = self._node(key, spec, scope)
                scope.names[str(key)] = built.outputs
                if built.node is not None:
                    nodes.append(built.node)
            except Abort:
                scope.broken.add(str(key))
            scope.later.pop(str(key), None)
        outputs, spans = self._outputs(body, scope)
        nodes = [_tapped(node, scope.taps.get(node.name, set())) for node in nodes]
        ports = [self._port(d, scope) for d in inputs if scope.names[d.name][""] is not None]
        ports += [InputPort(n, None, span, b.maybe, capture=True) for n, b in scope.captures.items()]
        params = {n: Attr(self._quiet(scope, n), g.span) for n, g in scope.given.items()}
        summary = str(body.summary.value) if body.summary is not None else ""
        source = str(body.source.value) if body.source is not None else ""
        maybe = frozenset(n for n, b in outputs.items() if b.maybe)
        refs = {n: b.ref for n, b in outputs.items()}
        return Block(
            name, scope.path, span, summary, source, params, tuple(ports), tuple(nodes), refs, spans, maybe
        )

    def _quiet(self, scope: Scope, name: str) -> Value:
        """A param's value for display and naming; faults were reported where it is used."""
        with self.diagnostics.recover():
            return scope.lookup(name)
        return None

    def _no_shadow(self, key: Key, inputs: tuple[InputDecl, ...]) -> None:
        if any(d.name == key for d in inputs):
            raise self.diagnostics.error("bad-name", f"`{key}` is already the name of an input", key.span)

    def _port(self, decl: InputDecl, scope: Scope) -> InputPort:
        binding = scope.names[decl.name][""]
        assert binding is not None
        default = None
        if decl.default is not None:
            with self.diagnostics.recover():
                found = scope.find(decl.default)
                default = found.ref if found is not None else None
        return InputPort(decl.name, decl.pattern, decl.span, binding.maybe, default)

    def _outputs(self, body: Body, scope: Scope) -> tuple[dict[str, Binding], dict[str, Span]]:
        outputs: dict[str, Binding] = {}
        spans: dict[str, Span] = {}
        for key, written in body.outputs.items():
            with self.diagnostics.recover():
                found = scope.find(written)
                if found is not None:
                    outputs[str(key)] = found
                    spans[str(key)] = written.span
        return outputs, spans

    def instance(
        self, target: Target, wires: Mapping[str, Wire], path: str, parent: Scope, span: Span
    ) -> Instance:
        """A new instance of the block that a target names."""
        assert target.block is not None
        self._check_growth(target, path, span)
        scope = Scope(
            path, target.title, self.diagnostics, parent=parent, outer=target.outer, given=dict(target.given)
        )
        if target.outer is not None:
            scope.inline, scope.inline_home = target.outer.inline, target.outer
        inputs = self.open_scope(target.block, scope, wires, span)
        block = self.body(target.block, scope, inputs, target.name, span)
        return Instance(block, {n: b.ref for n, b in scope.captures.items()})

    def _check_growth(self, target: Target, path: str, span: Span) -> None:
        """Blocks may use themselves (on smaller params) but not without end. Raises Abort, reports once."""
        self.instances += 1
        if self.is_endless:
            raise Abort(path)
        if path.count(".") > MAX_DEPTH or self.instances > MAX_INSTANCES:
            self.is_endless = True
            deep = path.count(".") > MAX_DEPTH
            message = (
                f"{target.title} contains itself" if deep else f"more than {MAX_INSTANCES} blocks in blocks"
            )
            cure = "a block may use itself only where a `when` on a param ends it"
            raise self.diagnostics.error("cycle", message, span, help=cure)

    # -- nodes ----------------------------------------------------------------------------------------------

    def _node(self, key: Key, spec: NodeSpec, scope: Scope) -> Built:
        if spec.same_as is not None:
            return self._same(key, spec, scope)
        target = self.targets.find(spec, scope)
        shape = self.shape(target)
        self.shapes[id(scope.owner), str(key)] = shape
        wires = wire(shape.ports, target.sites, target.title, key.span, shape.open_inputs)
        outputs = _output_names(target, shape, wires)
        guard: tuple[Ref, ...] = ()
        if spec.when is not None:
            condition = self._when(spec.when, scope)
            if condition is False:
                return Built(None, self._passed(spec, scope, wires, outputs))
            guard = condition if isinstance(condition, tuple) else ()
        if spec.repeat is not None:
            return elaborate_repeat(self, key, spec, scope, wires)
        if self._is_absent(shape, wires):
            return Built(None, dict.fromkeys(["", *outputs]))
        if target.op is not None:
            attrs = attributes(target, frozenset(wires), key.span, self.diagnostics)
            if any(attrs[n].value == v for n, v in target.op.identity_when.items()):
                return Built(None, {"": next(iter(wires.values())).bindings[0]})
            step = Step(OpNode(target.op.name, attrs, self._shares(spec, scope)), outputs)
        else:
            made = self.instance(target, wires, join(scope.path, str(key)), scope, key.span)
            step = Step(UseNode(made.block), tuple(made.block.outputs), made.captured, made.block.maybe)
        fallback = self._passed(spec, scope, wires, outputs).get("") if guard else None
        made_of = built(key, step, wires, shape, guard, fallback)
        absent = {o: None for o in shape.outputs if o not in made_of.outputs}
        return Built(made_of.node, {**made_of.outputs, **absent})

    def _same(self, key: Key, spec: NodeSpec, scope: Scope) -> Built:
        assert spec.same_as is not None
        name = str(spec.same_as.value)
        scope.find(spec.same_as)
        shape = self.shapes.get((id(scope.owner), name))
        if shape is None:
            raise self.diagnostics.error(
                "unknown-ref", f"`{name}` is no node to call again", spec.same_as.span
            )
        wires = wire(shape.ports, [Site(spec, scope)], f"`{name}`", key.span, shape.open_inputs)
        if self._is_absent(shape, wires):
            return Built(None, dict.fromkeys(["", *shape.outputs]))
        return built(key, Step(SameNode(name), shape.outputs), wires, shape)

    def shape(self, target: Target) -> Shape:
        """The ports and outputs that a target declares."""
        if target.op is not None:
            ports = tuple(Port(p.name, p.optional, p.variadic) for p in target.op.inputs)
            return Shape(ports, target.op.outputs or (), target.op.open_inputs)
        assert target.block is not None
        decls = input_decls(target.block, self.diagnostics)
        ports = tuple(Port(d.name, d.pattern.optional or d.default is not None) for d in decls)
        return Shape(ports, tuple(str(k) for k in target.block.outputs), False)

    def _is_absent(self, shape: Shape, wires: Mapping[str, Wire]) -> bool:
        optional = {p.name for p in shape.ports if p.optional}
        return any(found.absent and name not in optional for name, found in wires.items())

    def _passed(
        self, spec: NodeSpec, scope: Scope, wires: Mapping[str, Wire], outputs: tuple[str, ...]
    ) -> dict[str, Binding | None]:
        """The outputs of a node that is left out: `else`, the input of the same name, or the first input."""
        if spec.other is not None:
            return {"": scope.find(spec.other)}
        first = next(iter(wires.values()), None)
        out = {name: _single(wires.get(name, first if len(outputs) == 1 else None)) for name in outputs}
        return {"": next(iter(out.values()), None), **out}

    def _when(self, written: Written, scope: Scope) -> bool | tuple[Ref, ...]:
        """A `when`: decided now, or the values whose presence decides it at run time."""
        if isinstance(written, Located) and isinstance(written.value, str) and written.value.startswith("="):
            expr = parse_expr(written.value[1:]) if "present" in written.value else None
            if isinstance(expr, Call) and expr.name == "present" and isinstance(expr.args[0], Name):
                name = expr.args[0]
                found = scope.find(Located(name.name, written.part(name.start + 1, name.end + 1)))
                return found is not None and (not found.maybe or (found.ref,))
        value = scope.value(written)
        if not isinstance(value, bool):
            raise self.diagnostics.error(
                "wrong-type",
                "`when` is true or false, decided by params",
                written.span,
                notes=origins(written, scope),
                help="the one run-time condition is `=present(input)`",
            )
        return value

    def _shares(self, spec: NodeSpec, scope: Scope) -> dict[str, Attr]:
        if spec.share is None:
            return {}
        if not isinstance(spec.share, Map):
            raise self.diagnostics.error(
                "wrong-type", "`share` is a mapping `{weight: node.weight}`", spec.share.span
            )
        when = spec.share.get(Key("when", spec.share.span))
        if when is not None and self._when(when, scope) is False:
            return {}
        return {str(k): Attr(scope.value(v), v.span) for k, v in spec.share.items() if k != "when"}


def _tapped(node: Node, layers: set[int]) -> Node:
    """A repeat whose layers are read one by one, with an output for each."""
    return replace(node, outputs=(*node.outputs, *map(str, sorted(layers)))) if layers else node


def _output_names(target: Target, shape: Shape, wires: Mapping[str, Wire]) -> tuple[str, ...]:
    """The output ports of a node: declared, the keys of an attribute, or the names of its inputs."""
    if target.op is None or target.op.outputs is not None:
        return shape.outputs
    if target.op.named_by:
        named = target.node.attrs.get(Key(target.op.named_by, target.node.span))
        return tuple(str(k) for k in named) if isinstance(named, Map) else ()
    return tuple(wires)


def _single(found: Wire | None) -> Binding | None:
    return found.bindings[0] if found is not None and found.bindings else None
