"""Binding a block's declared input types to what arrives: the first occurrence of a dim names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.ir.dims import Dim, Proof, dim
from compiler.ir.graph import InputPort
from compiler.ir.types import TensorType, same_kind
from compiler.ir.values import DimName, Residual, Value, ValueFault, as_dim, evaluate, force
from compiler.source.text import Span
from compiler.syntax.expr import Expr, Name
from compiler.syntax.types import Axis, TypePattern

#: The cure where two sizes are neither proved equal nor proved different.
UNPROVED = "nothing says that these sizes are equal: give both axes one name, or make them so"


@dataclass(frozen=True)
class Origin:
    """What bound a dim: a port, its type and its place."""

    port: str
    found: TensorType
    span: Span


@dataclass
class Binder:
    """The dims of one block instance while its inputs arrive."""

    title: str
    path: str
    params: Callable[[str], Value]
    diagnostics: Diagnostics
    dims: dict[str, Dim] = field(default_factory=dict[str, Dim])
    origins: dict[str, Origin] = field(default_factory=dict[str, Origin])

    def bind(self, port: InputPort, found: TensorType, span: Span) -> None:
        """Raises Abort after reporting a type that does not fit."""
        assert port.pattern is not None
        pattern = port.pattern
        if not same_kind(pattern.dtype, found.dtype):
            raise self.diagnostics.error(
                "dtype-mismatch",
                f"`{port.name}` of {self.title} is {pattern}, but receives {found}",
                span,
                notes=(Note("the input is declared here", port.span),),
            )
        axes = _matched(pattern, found)
        if axes is None:
            raise self.diagnostics.error(
                "shape-mismatch",
                f"`{port.name}` of {self.title} is {pattern}, but receives {found}: another number of axes",
                span,
                notes=(Note("the input is declared here", port.span),),
            )
        for axis, size in axes:
            self._axis(axis, size, port, found, span)

    def _axis(self, axis: Axis, size: Dim, port: InputPort, found: TensorType, span: Span) -> None:
        name = axis.name
        assert axis.size is not None
        if axis.broadcast and size == dim(1):
            return
        if name is not None and name not in self.dims and not self._is_param(name):
            self.dims[name] = size
            self.origins[name] = Origin(port.name, found, span)
            return
        expected = self.expected(axis.size, port)
        proof = expected.compare(size)
        if proof is Proof.PROVED:
            return
        assert port.pattern is not None
        notes = [Note(f"`{port.name}` is declared {port.pattern}", port.span)]
        if name in self.origins:
            origin = self.origins[name]
            notes.insert(
                0, Note(f"`{name}` = {expected} comes from `{origin.port}`: {origin.found}", origin.span)
            )
        refuted = proof is Proof.REFUTED
        label = f"{name} = {expected}" if name is not None and name != str(expected) else str(expected)
        clash = (
            f"but receives {size}" if refuted else f"which cannot be proved equal to the {size} it receives"
        )
        raise self.diagnostics.error(
            "shape-mismatch" if refuted else "shape-unknown",
            f"`{port.name}` of {self.title} has {label}, {clash} in {found.axes()}",
            span,
            label=str(found),
            notes=tuple(notes),
            help="" if refuted else UNPROVED,
        )

    def _is_param(self, name: str) -> bool:
        try:
            self.params(name)
        except KeyError:
            return False
        return True

    def expected(self, size: Expr, port: InputPort) -> Dim:
        """The size that an axis is declared to have."""

        def lookup(name: Name) -> Value:
            if name.name in self.dims:
                return self.dims[name.name]
            try:
                return self.params(name.name)
            except KeyError:
                raise ValueFault(f"`{name.name}` is not bound yet") from None

        try:
            return as_dim(evaluate(size, lookup))
        except ValueFault as fault:
            raise self.diagnostics.error("bad-dim", f"an axis of `{port.name}`: {fault}", port.span) from None


def _matched(pattern: TypePattern, found: TensorType) -> list[tuple[Axis, Dim]] | None:
    """Each named axis with its size; `...` takes any number of axes."""
    spread = next((i for i, a in enumerate(pattern.axes) if a.size is None), None)
    if spread is None:
        if len(pattern.axes) != found.rank:
            return None
        return list(zip(pattern.axes, found.shape, strict=True))
    behind = len(pattern.axes) - spread - 1
    if found.rank < spread + behind:
        return None
    front = list(zip(pattern.axes[:spread], found.shape[:spread], strict=True))
    back = list(zip(pattern.axes[spread + 1 :], found.shape[found.rank - behind :], strict=True))
    return front + back


def forced(value: Value, dims: Mapping[str, Mapping[str, Dim]]) -> Value:
    """A value with the dims of all open blocks filled in."""

    def lookup(name: DimName) -> Value:
        found = dims.get(name.block, {}).get(name.name)
        if found is None:
            return Residual(name)
        return found if found.constant is None else found.constant

    return force(value, lookup)
