"""Which value arrives at which port: a closure's captured inputs, then the use's own, then the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.passes.scope import Binding, Scope
from compiler.source.text import Span
from compiler.syntax.model_spec import NodeSpec
from compiler.syntax.schema import describe
from compiler.syntax.yaml import Located, Map, Seq


@dataclass(frozen=True)
class Port:
    """An input as the target of a wire sees it."""

    name: str
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True)
class Wire:
    """What arrives at a port, seen from the scope of the use; an empty tuple means that it is absent."""

    bindings: tuple[Binding, ...]
    spans: tuple[Span, ...]  # of the references
    absent: bool = False

    @property
    def span(self) -> Span:
        """The place of the first reference."""
        return self.spans[0]


@dataclass(frozen=True)
class Site:
    """A node form with `in`, and the scope of its references; `scope` is where the wires must arrive."""

    node: NodeSpec
    scope: Scope


def wire(
    ports: Sequence[Port], sites: Sequence[Site], title: str, span: Span, open_inputs: bool
) -> dict[str, Wire]:
    """Port -> Wire for everything that is wired.

    sites: the use itself first, then the closures it goes through, whose inputs are captures.
    Raises Abort after reporting unknown, doubly wired or missing ports.
    """
    here = sites[0].scope
    wires: dict[str, Wire] = {}
    for site in reversed(sites[1:]):
        wires |= _named(site, ports, here, title, span, open_inputs, wires)
    wires |= _named(sites[0], ports, here, title, span, open_inputs, wires)
    missing = [p for p in ports if not p.optional and p.name not in wires]
    previous = sites[0].node.previous
    if missing and sites[0].node.inputs is None and previous is not None:
        wires[missing[0].name] = _wire(missing[0], previous, here, here)
        missing = missing[1:]
    for port in missing:
        raise here.diagnostics.error(
            "missing-input",
            f"the input `{port.name}` of {title} is not wired",
            span,
            help=f"add `in: {{{port.name}: ...}}`",
        )
    return wires


def _named(
    site: Site,
    ports: Sequence[Port],
    here: Scope,
    title: str,
    span: Span,
    open_inputs: bool,
    taken: dict[str, Wire],
) -> dict[str, Wire]:
    """The wires that one `in` gives."""
    written = site.node.inputs
    out: dict[str, Wire] = {}
    if written is None:
        return out
    free = [p for p in ports if p.name not in taken]
    for label, ref in _entries(written, free, open_inputs, title, here.diagnostics):
        if label.isdigit():
            port = free[int(label)] if int(label) < len(free) else None
        elif open_inputs:
            port = Port(label)
        else:
            port = next((p for p in ports if p.name == label), None)
        if port is None:
            place = getattr(label, "span", ref.span)
            raise here.diagnostics.error(
                "unknown-port",
                f"{title} has no input `{label}`"
                if not label.isdigit()
                else f"{title} takes {len(free)} input{'s' * (len(free) != 1)} here, this is one more",
                place,
                help=did_you_mean(label, [p.name for p in ports]) if not label.isdigit() else "",
            )
        if port.name in taken and not label.isdigit():
            raise here.diagnostics.error(
                "conflict",
                f"the input `{port.name}` is wired twice",
                ref.span,
                notes=(Note("the other", taken[port.name].span),),
            )
        out.setdefault(port.name, _wire(port, ref, site.scope, here))
    return out


def _entries(
    written: Located | Map | Seq,
    free: Sequence[Port],
    open_inputs: bool,
    title: str,
    diagnostics: Diagnostics,
) -> list[tuple[str, Located | Seq]]:
    """`in` as (port name or position, reference or references), named ones first."""
    if isinstance(written, Map):
        return sorted(written.items(), key=lambda item: item[0].isdigit())
    if open_inputs:
        raise diagnostics.error(
            "wrong-type", f"{title} names its inputs", written.span, help="write `in: {name: value, ...}`"
        )
    if free and free[0].variadic:
        return [("0", written)]
    if isinstance(written, Located):
        first = next((i for i, p in enumerate(free) if not p.optional), 0)
        return [(str(first), written)]
    return [(str(i), ref) for i, ref in enumerate(written)]


def _wire(port: Port, written: object, site: Scope, here: Scope) -> Wire:
    """One port's references, carried from the scope in which they are written to the scope of the use."""
    refs = list(written) if isinstance(written, Seq) and port.variadic else [written]
    if isinstance(written, Seq) and not refs:
        message = f"the input `{port.name}` is wired to nothing"
        raise here.diagnostics.error("missing-input", message, written.span)
    bindings: list[Binding] = []
    spans: list[Span] = []
    absent = False
    for ref in refs:
        if not isinstance(ref, Located) or not isinstance(ref.value, str):
            place = getattr(ref, "span", None)
            raise here.diagnostics.error("wrong-type", f"expected a reference, found {describe(ref)}", place)
        spans.append(ref.span)
        found = site.find(ref)
        if found is None:
            absent = True
        else:
            bindings.append(here.capture(site, found))
    return Wire(tuple(bindings), tuple(spans), absent)
