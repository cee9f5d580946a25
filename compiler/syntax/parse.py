"""SourceFile -> ModelSpec and the blocks of its further documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from compiler.diagnostics.diagnostic import Diagnostics, Note, fail
from compiler.diagnostics.suggest import nearest
from compiler.source.text import SourceFile, Span
from compiler.syntax.model_spec import NODE_FORMS, BlockSpec, Body, ModelSpec, NodeSpec
from compiler.syntax.names import (
    ADDED_METHODS,
    CONSTRUCTOR_NAMES,
    MODULE_ATTRIBUTES,
    TEXT_NAMES,
    is_identifier,
)
from compiler.syntax.schema import describe, validate
from compiler.syntax.yaml import Key, Located, Map, parse_yaml

B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class ParsedFile:
    """The documents of one file: at most one spec, and blocks."""

    file: SourceFile
    spec: ModelSpec | None
    blocks: dict[str, BlockSpec]


def parse(file: SourceFile) -> ParsedFile:
    """Read a spec or block file. Raises CompileError with every fault of the phase."""
    diagnostics = Diagnostics()
    spec: ModelSpec | None = None
    blocks: dict[str, BlockSpec] = {}
    for document in parse_yaml(file):
        with diagnostics.recover():
            if "spec" in document:
                if spec is not None:
                    raise diagnostics.error("conflict", "a file holds one spec", next(iter(document)).span)
                spec = _checked(validate(ModelSpec, document, diagnostics), diagnostics)
            elif "block" in document:
                block = _checked(validate(BlockSpec, document, diagnostics), diagnostics)
                assert block.block is not None
                check_name(str(block.block.value), block.block.span, diagnostics, "a block")
                if block.block.value in blocks:
                    first = blocks[block.block.value].block
                    raise diagnostics.error(
                        "ambiguous-name",
                        f"the block `{block.block.value}` stands twice",
                        block.block.span,
                        notes=(Note("it stands first here", first.span if first is not None else None),),
                    )
                blocks[block.block.value] = block
            else:
                raise diagnostics.error(
                    "missing-field",
                    "the document says neither `spec:` nor `block:`",
                    _first(document),
                    help="begin with `spec: NAME` or `block: NAME`",
                )
    diagnostics.check()
    return ParsedFile(file, spec, blocks)


def parse_node(data: object, diagnostics: Diagnostics) -> NodeSpec:
    """A block value such as `{use: mlp, with: {...}}`. Raises Abort after reporting."""
    if not isinstance(data, Map):
        span = data.span if isinstance(data, Located) else None
        raise diagnostics.error("wrong-type", f"expected a block, found {describe(data)}", span)
    node = validate(NodeSpec, data, diagnostics)
    check_node(node, None, diagnostics)
    return node


def is_block_value(data: object) -> bool:
    """Whether a value is written as a block: a mapping with `use` or `op`."""
    return isinstance(data, Map) and any(form in data for form in NODE_FORMS)


def check_name(
    key: str, span: Span, diagnostics: Diagnostics, what: str, taken: frozenset[str] = frozenset()
) -> None:
    """A name that becomes an identifier of the emitted text. taken: names that the text needs itself."""
    if not is_identifier(key):
        cure = "use letters, digits and `_`, begin with a letter, and avoid Python's keywords"
        diagnostics.error("bad-name", f"`{key}` cannot be the name of {what}", span, help=cure)
    elif key in taken:
        message = f"`{key}` cannot be the name of {what}: the emitted text needs `{key}` itself"
        diagnostics.error(
            "bad-name", message, span, help=f"choose another name, such as `{key.rstrip('_')}_1`"
        )


def check_node(node: NodeSpec, key: Key | None, diagnostics: Diagnostics) -> None:
    """The combinations of fields that one node may have."""
    span = key.span if key is not None else node.span
    forms = [f for f in NODE_FORMS if getattr(node, f) is not None]
    if len(forms) != 1:
        found = " and ".join(f"`{f}`" for f in forms) or "none of them"
        diagnostics.error(
            "missing-field", f"a node has one of `op`, `use` and `same_as`, this one has {found}", span
        )
        return
    if forms[0] != "op" and node.attrs:
        for attr in node.attrs:
            near = nearest(attr, NodeSpec.keys(), likeness=0.8)
            slip = f"did you mean `{near[0]}`? " if near else ""
            cure = slip + "params of a block stand under `with:`"
            diagnostics.error("unknown-field", f"unknown field `{attr}`", attr.span, help=cure)
    if node.repeat is None:
        for field in ("kinds", "order", "tail", "where", "reuse"):
            if getattr(node, field):
                diagnostics.error("unknown-field", f"`{field}` belongs to a node with `repeat`", span)
    if forms[0] != "use":
        for field in ("repeat", "params"):
            if getattr(node, field):
                name = NodeSpec.model_fields[field].alias or field
                diagnostics.error("unknown-field", f"`{name}` belongs to a node with `use`", span)


def _checked(body: B, diagnostics: Diagnostics) -> B:
    """Names are identifiers, nodes are well formed, implicit inputs are fixed."""
    arguments = TEXT_NAMES if isinstance(body, ModelSpec) else frozenset[str]()
    groups = (
        (body.params, "a param", CONSTRUCTOR_NAMES),
        (body.let, "a value", CONSTRUCTOR_NAMES),
        (body.inputs, "an input", arguments),
        (body.outputs, "an output", frozenset[str]()),
    )
    for group, what, taken in groups:
        for key in group:
            check_name(key, key.span, diagnostics, what, taken)
    start = _entrance(body) if body.extends is None else None
    updates: dict[str, object] = {"nodes": chain(body.nodes, diagnostics, start)}
    for edited in (body.add, body.replace):
        chain(edited, diagnostics)
    if body.insert is not None:
        chain(body.insert.nodes, diagnostics)
    if isinstance(body, ModelSpec):
        updates["blocks"] = {k: _checked(b, diagnostics) for k, b in body.blocks.items()}
        _check_spec_names(body, diagnostics)
    return body.model_copy(update=updates)


def _check_spec_names(spec: ModelSpec, diagnostics: Diagnostics) -> None:
    check_name(str(spec.spec.value), spec.spec.span, diagnostics, "a spec")
    for key in spec.blocks:
        check_name(key, key.span, diagnostics, "a block")
    for key, method in spec.methods.items():
        check_name(key, key.span, diagnostics, "a method", MODULE_ATTRIBUTES | ADDED_METHODS)
        for cut in method.cut:
            check_name(cut, cut.span, diagnostics, "an input", TEXT_NAMES)
        for output in method.outputs:
            check_name(output, output.span, diagnostics, "an output")


def _entrance(body: Body) -> Key | None:
    """The first input that every caller gives: what the first node reads unless it says otherwise."""
    key: Key
    for key, written in body.inputs.items():
        kind = written.get(Key("type", key.span)) if isinstance(written, Map) else written
        is_given = not isinstance(written, Map) or "default" not in written
        if is_given and isinstance(kind, Located) and not str(kind.value).endswith("?"):
            return key
    return None


def chain(
    nodes: dict[Key, NodeSpec], diagnostics: Diagnostics, start: Key | None = None
) -> dict[Key, NodeSpec]:
    """The nodes, each knowing the one before it; the first comes behind the input `start`."""
    out: dict[Key, NodeSpec] = {}
    previous = start
    for key, node in nodes.items():
        check_name(key, key.span, diagnostics, "a node")
        check_node(node, key, diagnostics)
        if node.inputs is None and previous is not None:
            node = node.model_copy(update={"previous": Located(str(previous), key.span, str(previous))})
        out[key] = node
        previous = key
    return out


def _first(document: Map) -> Span:
    return next(iter(document)).span if document else document.span


def read_spec(file: SourceFile) -> ParsedFile:
    """Like `parse`, for a file that must hold a spec."""
    parsed = parse(file)
    if parsed.spec is None:
        first = next(iter(parsed.blocks.values())).span
        place = Span(file, first.line, first.column, first.line, first.column + 1)
        message = f"`{file.name}` holds blocks but no spec"
        raise fail("missing-field", message, place, help="add a document `spec: NAME`")
    return parsed
