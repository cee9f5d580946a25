"""resolve: ModelSpec, Library -> Graph. Names bound, blocks expanded, closures lifted, absence decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from compiler.diagnostics.diagnostic import Diagnostics, fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import Attr, Block, Graph
from compiler.ops.table import OPS
from compiler.passes.adapt import adapt
from compiler.passes.elaborate import Elaborator
from compiler.passes.entry import entry_points, init_rules
from compiler.passes.inherit import flatten
from compiler.passes.io import io_values, split_settings
from compiler.passes.library import Library
from compiler.passes.overrides import override_params
from compiler.passes.scope import Given, Scope
from compiler.passes.signature import check_order
from compiler.passes.targets import Targets
from compiler.passes.unused import check_unused
from compiler.syntax.model_spec import ModelSpec
from compiler.syntax.schema import Value as Written
from compiler.syntax.yaml import Key, Map


def resolve(spec: ModelSpec, library: Library, variant: str, overrides: Map) -> Graph:
    """The graph of a spec. overrides: path -> value, params set from outside.
    Raises CompileError with every fault.
    """
    diagnostics = Diagnostics()
    targets = Targets(library, OPS, diagnostics, {})
    elaborator = Elaborator(targets, diagnostics)
    parents: list[str] = []

    def parent_of(child: ModelSpec) -> ModelSpec | None:
        if child.extends is None:
            return None
        parsed = library.spec(str(child.extends.value), child.extends.span, child.spec.span.file)
        assert parsed.spec is not None
        parents.append(str(parsed.spec.spec.value))
        return parsed.spec

    flat = spec
    with diagnostics.recover():
        flat = flatten(spec, parent_of, diagnostics)
        check_order(flat, diagnostics)
    diagnostics.check()
    name = str(flat.spec.value)
    scope = Scope("", f"spec `{name}`", diagnostics)
    chosen, chosen_io = split_settings(flat, _variant(flat, variant))
    set_params, set_io = split_settings(flat, overrides)
    outside = override_params(flat, set_params, diagnostics)
    scope.given = {str(k): Given(v, scope, k) for k, v in {**chosen, **outside}.items()}
    scope.inline, scope.inline_home = flat.blocks, scope
    inputs = elaborator.open_scope(flat, scope, None, flat.spec.span)
    root = elaborator.body(flat, scope, inputs, name, flat.spec.span)
    _check_outputs(flat, root, diagnostics)
    bounds = _values({k: d.max for k, d in flat.dims.items()}, scope)
    methods = entry_points(flat, scope)
    rules = init_rules(flat, scope)
    io = io_values({**flat.io, **chosen_io, **set_io}, scope)
    diagnostics.check()
    _check_unused(spec, flat, targets)
    task = str(flat.task.value) if flat.task is not None else ""
    graph = Graph(root, task, tuple(parents), bounds, methods, rules, io)
    return graph if flat.adapters is None else adapt(graph, flat.adapters, scope)


def _values(written: Mapping[Key, Written], scope: Scope) -> dict[str, Attr]:
    """The values of a section, faults reported one by one."""
    found: dict[str, Attr] = {}
    for key, value in written.items():
        with scope.diagnostics.recover():
            found[str(key)] = Attr(scope.value(value), value.span)
    return found


def _check_outputs(spec: ModelSpec, root: Block, diagnostics: Diagnostics) -> None:
    """A spec has an output, and one that its inputs reach."""
    if not spec.outputs:
        cure = "add `outputs: {NAME: node}`"
        diagnostics.error("missing-field", f"spec `{root.name}` has no outputs", spec.spec.span, help=cure)
    elif not root.outputs and not diagnostics.items:
        name, written = next(iter(spec.outputs.items()))
        diagnostics.error(
            "absent-value",
            f"the output `{name}` is absent: nothing is wired to an input that it needs",
            written.span,
        )


def _check_unused(spec: ModelSpec, flat: ModelSpec, targets: Targets) -> None:
    """The spec's own file: what it declares it uses. Only once all else is well:
    a misspelt name is one fault.
    """
    diagnostics = Diagnostics()
    check_unused(spec, flat, OPS, diagnostics)
    flattening = replace(targets, diagnostics=diagnostics)
    for name, block in targets.library.private_blocks(spec.spec.span.file).items():
        with diagnostics.recover():
            check_unused(block, flattening.flat_block(block, name), OPS, diagnostics)
    diagnostics.check()


def _variant(spec: ModelSpec, variant: str) -> Mapping[Key, Written]:
    """What a variant sets."""
    if not variant:
        return {}
    found = next((v for k, v in spec.variants.items() if k == variant), None)
    if found is None:
        raise fail(
            "not-found",
            f"spec `{spec.spec.value}` has no variant `{variant}`",
            spec.spec.span,
            help=did_you_mean(variant, spec.variants),
        )
    return found
