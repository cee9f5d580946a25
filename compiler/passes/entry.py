"""Methods and init rules: what a spec says beside its nodes."""

from __future__ import annotations

from compiler.ir.graph import InitRule, Method, Ref
from compiler.passes.initial import InitFault, init_fault, source_node
from compiler.passes.scope import Scope
from compiler.syntax.model_spec import ModelSpec

ONLY_PARAMETERS = InitFault("only a `parameter` is filled by a node", "write it as that node's own `init`")


def entry_points(spec: ModelSpec, scope: Scope) -> tuple[Method, ...]:
    """The methods, their outputs and cuts bound to values of the root."""
    methods: list[Method] = []
    for key, written in spec.methods.items():
        with scope.diagnostics.recover():
            outputs: dict[str, Ref] = {}
            for name, ref in written.outputs.items():
                found = scope.find(ref)
                if found is None:
                    raise scope.diagnostics.error(
                        "bad-method", f"the output `{name}` of `{key}` is absent", ref.span
                    )
                outputs[str(name)] = found.ref
            cut: dict[str, Ref] = {}
            for name, ref in written.cut.items():
                found = scope.find(ref)
                if found is not None:
                    cut[str(name)] = found.ref
            summary = str(written.summary.value) if written.summary is not None else ""
            methods.append(Method(str(key), key.span, summary, outputs, cut))
    return tuple(methods)


def init_rules(spec: ModelSpec, scope: Scope) -> tuple[InitRule, ...]:
    """The init rules in order of strength: by op, then by path."""
    rules: list[InitRule] = []
    if spec.init is None:
        return ()
    for group, by_path in ((spec.init.ops, False), (spec.init.paths, True)):
        for key, written in group.items():
            with scope.diagnostics.recover():
                value = scope.value(written)
                wrong = init_fault(value) if source_node(value) is None else ONLY_PARAMETERS
                if wrong is not None:
                    raise scope.diagnostics.error("bad-value", wrong.message, written.span, help=wrong.help)
                rules.append(InitRule(str(key), value, written.span, by_path))
    return tuple(rules)
