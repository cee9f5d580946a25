"""Methods and init rules: what a spec says beside its nodes."""

from __future__ import annotations

from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import InitRule, Method, Ref
from compiler.ir.values import Record, Value
from compiler.passes.scope import Scope
from compiler.source.text import Span
from compiler.syntax.model_spec import ModelSpec

#: distribution -> its parameters
INITS: dict[str, tuple[str, ...]] = {
    "normal": ("std", "mean"),
    "uniform": ("low", "high"),
    "constant": ("value",),
}


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
                check_init(value, written.span, scope)
                rules.append(InitRule(str(key), value, written.span, by_path))
    return tuple(rules)


def check_init(value: Value, span: Span, scope: Scope) -> None:
    """A rule is `zeros`, `ones`, a number, or one distribution with its parameters."""
    if value in ("zeros", "ones", "xavier_uniform"):
        return
    if isinstance(value, Record) and len(value.items) == 1:
        name, params = value.items[0]
        if name not in INITS:
            scope.diagnostics.error(
                "bad-value", f"there is no init `{name}`", span, help=did_you_mean(name, INITS)
            )
        elif name == "constant" or (
            isinstance(params, Record) and all(k in INITS[name] for k, _ in params.items)
        ):
            return
        else:
            scope.diagnostics.error("bad-value", f"`{name}` takes " + ", ".join(INITS[name]), span)
        return
    scope.diagnostics.error(
        "bad-value",
        "an init is `zeros`, `ones`, `xavier_uniform` or a distribution",
        span,
        help="{normal: {std: 0.02}}",
    )
