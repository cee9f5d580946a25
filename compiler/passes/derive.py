"""Where the values of an expression came from: the notes that show both sides of a disagreement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from compiler.diagnostics.diagnostic import Abort, Diagnostics, Note
from compiler.ir.dims import Dim, dim
from compiler.ir.graph import Block, Node, OpNode, Ref
from compiler.ir.opdef import OpFault
from compiler.ir.types import TensorType
from compiler.ir.values import Value, ValueFault, spell
from compiler.passes.bind import UNPROVED, Binder
from compiler.source.text import Span

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def value_notes(written: Span, block: Block, binder: Binder) -> tuple[Note, ...]:
    """The params and dims that an expression names, each with its value and the place that gave it.

    For a block also the place that uses it: the expression stands in the block, the fault often there.
    """
    notes: list[Note] = []
    for word in dict.fromkeys(_WORD.findall(_text(written))):
        if word in binder.origins:
            origin = binder.origins[word]
            size = binder.dims[word]
            if size.constant is not None:
                notes.append(Note(f"`{word}` is {size}, from `{origin.port}`: {origin.found}", origin.span))
        elif word in block.params:
            value = _quiet(word, binder)
            if value is not None:
                notes.append(Note(f"`{word}` is {spell(value)}", block.params[word].span))
    if block.path:
        notes.append(Note(f"the block `{block.name}` is used here", block.span))
    return tuple(notes)


def input_notes(node: Node, types: Mapping[Ref, TensorType], spans: Mapping[str, Span]) -> tuple[Note, ...]:
    """What a node receives at each port, and where that was made."""
    notes: list[Note] = []
    for port, refs in node.inputs.items():
        many = isinstance(refs, tuple)
        for k, ref in enumerate(refs if isinstance(refs, tuple) else (refs,)):
            label = f"{port}[{k}]" if many else port
            notes.append(Note(f"`{label}` is {types[ref]}, from `{ref.node}`", spans.get(ref.node)))
    return tuple(notes)


def op_fault(
    fault: OpFault, node: Node, action: OpNode, notes: tuple[Note, ...], diagnostics: Diagnostics
) -> Abort:
    """An op's refusal as a diagnostic, at the input or attribute that disagrees."""
    span = node.input_spans.get(fault.port, node.span)
    if fault.attr in action.attrs:
        span = action.attrs[fault.attr].span
    cure = UNPROVED if fault.code == "shape-unknown" else fault.help
    message = f"`{node.name}` ({action.op}): {fault.message}"
    return diagnostics.error(fault.code, message, span, notes=notes, help=cure)


def size_of(name: str, block: Block, binder: Binder) -> Dim | None:
    """The size that a name in a pattern stands for; None where it is local to the pattern.

    Raises Abort after reporting a param that is a number but no whole one.
    """
    if name in binder.dims:
        return binder.dims[name]
    if name not in block.params:
        return None
    value = _quiet(name, binder)
    if isinstance(value, Fraction):
        span = block.params[name].span
        raise binder.diagnostics.error(
            "bad-dim",
            f"`{name}` of {binder.title} is {spell(value)}, which is no whole number",
            span,
            notes=value_notes(span, block, binder),
        )
    if isinstance(value, int) and not isinstance(value, bool):
        return dim(value)
    return value if isinstance(value, Dim) else None


def _quiet(name: str, binder: Binder) -> Value:
    """A param's value; faults were reported where it is used."""
    try:
        return binder.params(name)
    except ValueFault:
        return None


def _text(span: Span) -> str:
    if span.line != span.end_line:
        return ""
    return span.file.line(span.line)[span.column - 1 : span.end_column - 1]
