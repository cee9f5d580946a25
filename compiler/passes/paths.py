"""The one path grammar: `h.attn.window`, `kv.in.k`, `h.mlp` — edits of nodes, reaching into block values."""

from __future__ import annotations

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.source.text import Span
from compiler.syntax.model_spec import NodeSpec
from compiler.syntax.parse import is_block_value, parse_node
from compiler.syntax.schema import Value, describe
from compiler.syntax.yaml import Key, Located, Map, Seq

#: Fields of a node that a path may name.
_FIELDS = {
    "use": "use",
    "op": "op",
    "when": "when",
    "repeat": "repeat",
    "else": "other",
    "share": "share",
    "order": "order",
    "reuse": "reuse",
}


def set_in_nodes(
    nodes: dict[Key, NodeSpec], path: Key, value: Value, diagnostics: Diagnostics
) -> dict[Key, NodeSpec]:
    """The nodes with one place changed. Raises Abort after reporting a path that reaches nothing."""
    head, _, rest = path.partition(".")
    if head not in nodes:
        raise _lost(path, head, nodes, diagnostics)
    if not rest:
        raise diagnostics.error(
            "bad-path", f"`{path}` names a whole node", path.span, help="use `replace:` for a node"
        )
    key = next(k for k in nodes if k == head)
    return {
        k: set_in_node(n, rest, value, path.span, diagnostics) if k == key else n for k, n in nodes.items()
    }


def set_in_node(node: NodeSpec, path: str, value: Value, span: Span, diagnostics: Diagnostics) -> NodeSpec:
    """A node with `in.PORT`, an attribute, a param, or a place inside a block-valued param changed."""
    head, _, rest = path.partition(".")
    if head == "in" and not rest:
        return node.model_copy(update={"inputs": value})
    if head == "in":
        return node.model_copy(update={"inputs": _set_input(node.inputs, rest, value, span)})
    if (
        head in ("op", "else")
        and not rest
        and not (isinstance(value, Located) and isinstance(value.value, str))
    ):
        message = f"`{head}` is a word, not {describe(value)}"
        raise diagnostics.error("wrong-type", message, value.span)
    if head in _FIELDS and not rest:
        return node.model_copy(update={_FIELDS[head]: value})
    group = "attrs" if node.op is not None else "params"
    values: Map = Map(getattr(node, group))
    if not rest:
        values[Key(head, span)] = value
        return node.model_copy(update={group: values})
    if head not in values:
        raise _lost(path, head, values, diagnostics, span)
    key = next(k for k in values if k == head)
    values[key] = set_in_value(values[key], rest, value, span, diagnostics)
    return node.model_copy(update={group: values})


def set_in_value(target: Value, path: str, value: Value, span: Span, diagnostics: Diagnostics) -> Map:
    """A block value with one place changed."""
    if not is_block_value(target):
        raise diagnostics.error(
            "bad-path",
            f"`{path}` reaches into a value that is not written as a block here",
            span,
            help="set the whole value, or the param that it is made from",
        )
    node = parse_node(target, diagnostics)
    return _as_map(set_in_node(node, path, value, span, diagnostics), target)


def _as_map(node: NodeSpec, like: Map) -> Map:
    """The YAML form of an edited block value."""
    out = Map()
    out.span = like.span
    fields = {"op": node.op, "use": node.use, "in": node.inputs, "when": node.when}
    for name, field in fields.items():
        if field is not None:
            out[Key(name, like.span)] = field
    if node.params:
        out[Key("with", like.span)] = _spanned(node.params, like.span)
    out.update(node.attrs)
    return out


def _spanned(values: dict[Key, Value], span: Span) -> Map:
    out = Map(values)
    out.span = span
    return out


def _set_input(inputs: Value | None, port: str, value: Value, span: Span) -> Map | Seq:
    """`in` with one port changed: an item of a list by its place, any other port by name."""
    if isinstance(inputs, Seq) and port.isdigit() and int(port) < len(inputs):
        items = Seq(value if i == int(port) else item for i, item in enumerate(inputs))
        items.span = inputs.span
        return items
    out = Map()
    out.span = span
    if isinstance(inputs, Map):
        out.update(inputs)
    elif isinstance(inputs, list):
        out.update({Key(str(i), span): ref for i, ref in enumerate(inputs)})
    elif isinstance(inputs, Located):
        out[Key("0", span)] = inputs
    out[Key(port, span)] = value
    return out


def _lost(
    path: str, head: str, known: dict[Key, NodeSpec] | Map, diagnostics: Diagnostics, span: Span | None = None
) -> Exception:
    place = span if span is not None else getattr(path, "span", None)
    return diagnostics.error(
        "bad-path", f"`{path}` reaches nothing: there is no `{head}`", place, help=did_you_mean(head, known)
    )
