"""Things that a definition declares and never uses: nodes that nothing reads, params that nothing mentions.

Judged on the definition, not on one instance of it: a param that only one branch of a `when` mentions
is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.diagnostics.suggest import nearest
from compiler.ir.opdef import OpDef
from compiler.passes.initial import FROM
from compiler.syntax.model_spec import Body, ModelSpec, NodeSpec
from compiler.syntax.parse import is_block_value
from compiler.syntax.schema import Syntax
from compiler.syntax.yaml import Key, Located, Map

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class _Mentions:
    """Every word that a definition uses, by the way in which it uses it."""

    refs: frozenset[str]  # first segments of references
    names: frozenset[str]  # in expressions, patterns and types
    pattern_words: Mapping[str, Located]  # of patterns alone, where any name is allowed
    plain: Mapping[str, Located]  # scalars written without `=`


def check_unused(own: Body, whole: Body, ops: Mapping[str, OpDef], diagnostics: Diagnostics) -> None:
    """own: a definition as written; whole: the same with what it inherits, which may use what it declares."""
    found = _mentions(whole, ops)
    nodes = [k for group in _node_groups(own) for k in group if k in whole.nodes]
    for key in nodes:
        if key not in found.refs:
            diagnostics.error(
                "unused-input", f"nothing reads the node `{key}`", key.span,
                help="name it in another node's `in` or under `outputs`, or remove it",
            )  # fmt: skip
    for key in own.inputs:
        if key not in found.refs and not _axes(own, key) & _names_without_inputs(whole):
            diagnostics.error("unused-input", f"nothing reads the input `{key}`", key.span, help="remove it")
    for what, group in (("param", own.params), ("value", own.let)):
        for key in group:
            if key not in found.names:
                notes, cure = _misspelt(key, what, found, whole)
                diagnostics.error(
                    "unused-input", f"nothing mentions the {what} `{key}`", key.span, notes=notes, help=cure
                )
    if isinstance(own, ModelSpec):
        for block in own.blocks.values():
            check_unused(block, block, ops, diagnostics)


def _node_groups(body: Body) -> list[Iterable[Key]]:
    groups: list[Iterable[Key]] = [body.nodes, body.add, body.replace]
    return [*groups, body.insert.nodes] if body.insert is not None else groups


def _mentions(body: Body, ops: Mapping[str, OpDef]) -> _Mentions:
    names: set[str] = set()
    pattern_words: dict[str, Located] = {}
    plain: dict[str, Located] = {}
    for label, leaf in leaves(body):
        if not isinstance(leaf.value, str):
            continue
        if leaf.value.startswith("=") or label in ("inputs", "type", "pattern"):
            words = _WORD.findall(leaf.value)
            names |= set(words)
            if label == "pattern":
                pattern_words |= {w: leaf for w in words}
        else:
            plain.setdefault(leaf.value, leaf)
    return _Mentions(frozenset(_refs(body, ops)), frozenset(names), pattern_words, plain)


def leaves(value: object, label: str = "") -> Iterator[tuple[str, Located]]:
    """Every scalar below a value, with the name of the field or key that it stands under."""
    if isinstance(value, Located):
        yield label, value
    elif isinstance(value, Syntax):
        for name in type(value).model_fields:
            if name not in ("summary", "source", "task", "previous"):
                as_ports = isinstance(value, NodeSpec) and name == "inputs"
                yield from leaves(getattr(value, name), "in" if as_ports else name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            keep = label == "inputs" and not isinstance(inner, Map)
            yield from leaves(inner, label if keep else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, label)


def _refs(body: Body, ops: Mapping[str, OpDef]) -> Iterator[str]:
    """The nodes and inputs that a definition refers to."""
    for node in body.nodes.values():
        yield from _node_refs(node, ops)
    written: list[object] = [body.outputs, [v for v in body.inputs.values() if isinstance(v, Map)]]
    if isinstance(body, ModelSpec):
        written += [m.outputs for m in body.methods.values()] + [m.cut for m in body.methods.values()]
    for _, leaf in leaves(written):
        yield _head(leaf)
    for values in (body.params, body.let, *(body.variants.values() if isinstance(body, ModelSpec) else ())):
        for value in values.values():
            yield from _closure_refs(value)


def _node_refs(node: NodeSpec, ops: Mapping[str, OpDef]) -> Iterator[str]:
    for _, leaf in leaves([node.inputs, node.other, node.same_as, node.share]):
        yield _head(leaf)
    for group in (node.params, *node.kinds.values(), *(rule.set for rule in node.where)):
        for path, value in group.items():
            if "in" in path.split("."):
                yield from (_head(leaf) for _, leaf in leaves(value))
            yield from _closure_refs(value)
    for _, leaf in leaves([node.when]):
        yield from _WORD.findall(str(leaf.value))  # present(x)
    for key, value in node.attrs.items():
        if key == "init" and isinstance(value, Map):
            yield from (_head(leaf) for word, leaf in leaves(value) if word == FROM)
    op = ops.get(str(node.op.value)) if node.op is not None else None
    if node.previous is not None and (op is None or any(not p.optional for p in op.inputs)):
        yield _head(node.previous)


def _closure_refs(value: object) -> Iterator[str]:
    """What the block values inside a value capture."""
    if isinstance(value, list):
        for inner in value:
            yield from _closure_refs(inner)
    elif isinstance(value, Map):
        for key, inner in value.items():
            if key == "in" and is_block_value(value):
                yield from (_head(leaf) for _, leaf in leaves(inner))
            else:
                yield from _closure_refs(inner)


def _head(leaf: Located) -> str:
    return str(leaf.value).partition(".")[0]


def _axes(body: Body, key: Key) -> frozenset[str]:
    return frozenset(
        w for _, leaf in leaves(body.inputs[key], "inputs") for w in _WORD.findall(str(leaf.value))
    )


def _names_without_inputs(body: Body) -> frozenset[str]:
    """The words of expressions and patterns outside of the inputs' types."""
    found: set[str] = set()
    for name in type(body).model_fields:
        if name != "inputs":
            for label, leaf in leaves(getattr(body, name), name):
                text = str(leaf.value)
                found |= set(_WORD.findall(text)) if text.startswith("=") or label == "pattern" else set()
    return frozenset(found)


def _misspelt(key: Key, what: str, found: _Mentions, whole: Body) -> tuple[tuple[Note, ...], str]:
    """Where the name was probably meant, and the cure."""
    known = {*whole.params, *whole.let}
    strangers = [w for w in found.pattern_words if w not in known]
    near = nearest(key, strangers)
    if near:
        at = found.pattern_words[near[0]]
        start = str(at.value).find(near[0])
        note = Note(f"`{near[0]}` is new here", at.part(start, start + len(near[0])))
        return (note,), f"did you mean `{key}` in the pattern?"
    if key in found.plain:
        return (
            Note(f"`{key}` is a plain word here", found.plain[key].span),
        ), f"write `={key}` for the {what}"
    return (), "remove it"
