"""`extends`: a spec or block and its parents as one body, edited by explicit verbs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.passes.paths import set_in_nodes
from compiler.source.text import Span
from compiler.syntax.model_spec import Body, InsertSpec, ModelSpec, NodeSpec
from compiler.syntax.parse import chain
from compiler.syntax.yaml import Key, Located

B = TypeVar("B", bound=Body)

#: Sections whose entries a child adds to or replaces, key by key.
_MERGED = ("params", "let", "inputs")
_MERGED_SPEC = ("dims", "blocks", "methods", "io")


def flatten(body: B, parent_of: Callable[[B], B | None], diagnostics: Diagnostics, limit: int = 16) -> B:
    """The body with everything it inherits. Not inherited: summary, source, variants."""
    parent = parent_of(body)
    if parent is None:
        return body
    if limit == 0:
        assert body.extends is not None
        raise diagnostics.error(
            "cycle", "this `extends` never ends", body.extends.span, help="break the circle"
        )
    base = flatten(parent, parent_of, diagnostics, limit - 1)
    updates: dict[str, Any] = {name: {**getattr(base, name), **getattr(body, name)} for name in _MERGED}
    if set(base.inputs) <= set(body.inputs):
        updates["inputs"] = body.inputs  # a child that lists all inputs gives their order
    removed = {str(name.value) for name in body.remove if name.value in base.inputs}
    updates["inputs"] = {k: v for k, v in updates["inputs"].items() if k not in removed}
    updates["outputs"] = body.outputs or base.outputs  # a child that lists outputs lists all of them
    if isinstance(body, ModelSpec) and isinstance(base, ModelSpec):
        updates |= {name: {**getattr(base, name), **getattr(body, name)} for name in _MERGED_SPEC}
        updates["init"] = body.init or base.init
        updates["adapters"] = body.adapters or base.adapters
        updates["task"] = body.task or base.task
        for section in ("methods", "dims"):
            gone = {str(name.value) for name in body.remove if name.value in getattr(base, section)}
            updates[section] = {k: v for k, v in updates[section].items() if k not in gone}
            removed |= gone
    nodes = _append(dict(base.nodes), body.nodes, diagnostics)
    updates["nodes"] = _edit(nodes, body, removed, diagnostics)
    return body.model_copy(update=updates)


def _edit(
    nodes: dict[Key, NodeSpec], body: Body, others: Collection[str], diagnostics: Diagnostics
) -> dict[Key, NodeSpec]:
    """The verbs in their fixed order: remove, replace, insert, add, set. others: what goes and is no node."""
    if _has_conflicts(body, diagnostics):
        return nodes
    for name in (n for n in body.remove if n.value not in others):
        with diagnostics.recover():
            key = _find(nodes, str(name.value), name.span, diagnostics)
            nodes = {k: n for k, n in nodes.items() if k != key}
    for name, node in chain(body.replace, diagnostics).items():
        with diagnostics.recover():
            key = _find(nodes, name, name.span, diagnostics)
            if node.inputs is None and node.previous is None:
                node = node.model_copy(update={"previous": nodes[key].previous})
            nodes = {(name if k == key else k): (node if k == key else n) for k, n in nodes.items()}
    with diagnostics.recover():
        if body.insert is not None:
            nodes = _insert(nodes, body.insert, diagnostics)
    with diagnostics.recover():
        nodes = _append(nodes, body.add, diagnostics)
    for path, value in body.set.items():
        with diagnostics.recover():
            nodes = set_in_nodes(nodes, path, value, diagnostics)
    return nodes


def _has_conflicts(body: Body, diagnostics: Diagnostics) -> bool:
    """No two verbs may touch one node, nor two paths of `set` lie inside each other."""
    before = len(diagnostics.items)
    claims: dict[str, Span] = {}
    for name, span in [(str(n.value), n.span) for n in body.remove] + [
        (str(k), k.span) for k in body.replace
    ]:
        if name in claims:
            diagnostics.error(
                "conflict", f"two edits touch `{name}`", span, notes=(Note("the other", claims[name]),)
            )
        claims[name] = span
    for path in body.set:
        for other, span in claims.items():
            if path == other or path.startswith(other + ".") or other.startswith(path + "."):
                diagnostics.error(
                    "conflict", f"two edits touch `{path}`", path.span, notes=(Note("the other", span),)
                )
        claims[path] = path.span
    return len(diagnostics.items) > before


def _insert(nodes: dict[Key, NodeSpec], insert: InsertSpec, diagnostics: Diagnostics) -> dict[Key, NodeSpec]:
    anchor = insert.after or insert.before
    if anchor is None or (insert.after is not None and insert.before is not None):
        raise diagnostics.error("missing-field", "`insert` says one of `after:` and `before:`", insert.span)
    key = _find(nodes, str(anchor.value), anchor.span, diagnostics)
    out: dict[Key, NodeSpec] = {}
    for name, node in nodes.items():
        if name == key and insert.before is not None:
            out = _append(out, insert.nodes, diagnostics)
        out[name] = node
        if name == key and insert.after is not None:
            out = _append(out, insert.nodes, diagnostics)
    return out


def _append(
    nodes: dict[Key, NodeSpec], new: dict[Key, NodeSpec], diagnostics: Diagnostics
) -> dict[Key, NodeSpec]:
    """Nodes put behind others; the first is wired to the last of them unless it says otherwise."""
    last = next(reversed(nodes), None)
    for name, node in chain(new, diagnostics).items():
        if name in nodes:
            first = next(k for k in nodes if k == name)
            raise diagnostics.error(
                "conflict",
                f"the node `{name}` exists already",
                name.span,
                notes=(Note("here", first.span),),
                help="use `replace:` to change it",
            )
        if node.inputs is None and node.previous is None and last is not None:
            node = node.model_copy(update={"previous": Located(str(last), last.span, str(last))})
        nodes = {**nodes, name: node}
    return nodes


def _find(nodes: dict[Key, NodeSpec], name: str, span: Span, diagnostics: Diagnostics) -> Key:
    for key in nodes:
        if key == name:
            return key
    raise diagnostics.error(
        "bad-path", f"there is no node `{name}` to edit", span, help=did_you_mean(name, nodes)
    )
