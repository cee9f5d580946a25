"""adapt: Graph -> Graph. The linear maps that `adapters` names get low-rank additions;
all else stays as it is.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.ir.graph import Adapters, Attr, Block, Graph, Node, OpNode, Path, RepeatNode, UseNode
from compiler.passes.scope import Scope
from compiler.source.text import Span
from compiler.syntax.model_spec import AdapterSpec

#: What an addition adds to a linear map's attributes.
GIVEN = ("rank", "alpha", "dropout")


def adapt(graph: Graph, spec: AdapterSpec, scope: Scope) -> Graph:
    """Raises CompileError for paths that reach no linear map, and for sizes that are none."""
    adapters = _read(spec, scope)
    scope.diagnostics.check()
    rewriting = _Rewriting(adapters, spec.span)
    root = rewriting.block(graph.root, "")
    for path in adapters.at:
        if path.text not in rewriting.used:
            scope.diagnostics.error(
                "bad-path", f"`{path.text}` reaches no linear map", path.span,
                help="a path names nodes, `*` any layer: `h.*.attn.q`",
            )  # fmt: skip
    scope.diagnostics.check()
    return replace(graph, root=root, adapters=adapters)


def plain(graph: Graph) -> Graph:
    """The graph without its adapters, the inverse of `adapt`."""
    return replace(graph, root=_stripped(graph.root), adapters=None)


def _stripped(block: Block) -> Block:
    def node(n: Node) -> Node:
        match n.action:
            case UseNode(block=inner):
                return replace(n, action=UseNode(_stripped(inner)))
            case RepeatNode(bodies=bodies) as repeat:
                return replace(n, action=replace(repeat, bodies=tuple(map(_stripped, bodies))))
            case OpNode(op="lora_linear", attrs=attrs):
                return replace(n, action=OpNode("linear", {k: v for k, v in attrs.items() if k not in GIVEN}))
            case _:
                return n

    return replace(block, nodes=tuple(map(node, block.nodes)))


def _read(spec: AdapterSpec, scope: Scope) -> Adapters:
    rank, alpha = scope.value(spec.rank), scope.value(spec.alpha)
    dropout = 0.0 if spec.dropout is None else scope.value(spec.dropout)
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        scope.diagnostics.error(
            "bad-value", f"the rank is a positive whole number, not `{rank}`", spec.rank.span
        )
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        scope.diagnostics.error("bad-value", f"alpha is a number, not `{alpha}`", spec.alpha.span)
    at = tuple(Path(str(t.value), t.span) for t in spec.at)
    train = tuple(Path(str(t.value), t.span) for t in spec.train)
    return Adapters(at, train, rank, alpha, dropout)


class _Rewriting:
    """Walks the blocks, each distinct layer once, under the path that its tensors have."""

    def __init__(self, adapters: Adapters, span: Span) -> None:
        self.adapters = adapters
        self.span = span
        self.used: set[str] = set()

    def block(self, block: Block, prefix: str) -> Block:
        return replace(block, nodes=tuple(self._node(n, prefix) for n in block.nodes))

    def _node(self, node: Node, prefix: str) -> Node:
        path = prefix + node.name
        match node.action:
            case UseNode(block=inner):
                return replace(node, action=UseNode(self.block(inner, f"{path}.")))
            case RepeatNode(bodies=bodies) as repeat:
                changed = tuple(self.block(b, f"{path}.*.") for b in bodies)
                return replace(node, action=replace(repeat, bodies=changed))
            case OpNode(op="linear", shares=shares) as linear if not shares:
                return replace(node, action=self._linear(linear, path))
            case _:
                return node

    def _linear(self, linear: OpNode, path: str) -> OpNode:
        found = [p for p in self.adapters.at if _same(p, path)]
        if not found:
            return linear
        self.used |= {p.text for p in found}
        given = {name: Attr(getattr(self.adapters, name), self.span) for name in GIVEN}
        attrs = {**linear.attrs, **given}
        return OpNode("lora_linear", attrs)


def _same(path: Path, name: str) -> bool:
    """Whether a path says a node's; `*` is any segment, and the layers of a repeat are `*` in both."""
    return path.text.count(".") == name.count(".") and path.reaches(name)
