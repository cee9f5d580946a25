"""loss: TypedGraph -> TypedGraph. Given labels, forward returns the loss alone, and never has all the logits.

They are the largest tensor of a language model's step, and the loss needs a few positions of them at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.diagnostics.diagnostic import CompileError, fail
from compiler.ir.graph import Attr, OpNode, Ref
from compiler.ir.typed import Joined, TypedBlock, TypedGraph, TypedNode

OUTPUT: Final = "loss"


def loss(graph: TypedGraph) -> TypedGraph:
    """The graph with its loss computed from what the last linear map reads, with that map's weight.

    The map stays where it is: without labels forward returns what it did before. Raises CompileError where
    the output `loss` is anything but a cross-entropy, without smoothing, of a linear map's output.
    """
    root = graph.root
    found = _cross_entropy(root)
    changed = _joined(found, _linear(root, found))
    nodes = tuple(changed if typed is found else typed for typed in root.nodes)
    block = replace(root.block, nodes=tuple(typed.node for typed in nodes))
    if OUTPUT in block.maybe and len(block.outputs) > 1:
        block = replace(block, early=OUTPUT)
    else:
        block = replace(block, outputs={OUTPUT: block.outputs[OUTPUT]})
    joined = graph.joined or Joined(root, ())  # the tie is of the text alone: weight maps know nothing of it
    return replace(graph, root=replace(root, block=block, nodes=nodes), joined=joined)


def _cross_entropy(root: TypedBlock) -> TypedNode:
    """The node that computes the loss."""
    ref = root.block.outputs.get(OUTPUT)
    if ref is None:
        raise _refused(root, "it has no output `loss`")
    typed = _op(root, ref, "cross_entropy", "its output `loss`")
    if typed.attrs["smoothing"]:
        raise _refused(root, f"`{ref.node}` smooths its labels, for which torch needs all logits")
    return typed


def _linear(root: TypedBlock, found: TypedNode) -> TypedNode:
    """The map whose output the loss is of."""
    ref = found.node.inputs["x"]
    assert isinstance(ref, Ref)
    return _op(root, ref, "linear", f"`{ref.node}`, of which the loss is,")


def _op(root: TypedBlock, ref: Ref, op: str, what: str) -> TypedNode:
    if ref.node not in root.inputs:
        typed = root.node(ref.node)
        if isinstance(typed.node.action, OpNode) and typed.node.action.op == op:
            return typed
    raise _refused(root, f"{what} is no `{op}` of the spec itself")


def _refused(root: TypedBlock, reason: str) -> CompileError:
    span = root.block.output_spans.get(OUTPUT, root.block.span)
    message = f"`optimize` cannot have `loss` for the spec `{root.block.name}`: {reason}"
    return fail("usage", message, span, help="leave it out")


def _joined(found: TypedNode, linear: TypedNode) -> TypedNode:
    """The cross-entropy of a linear map: it reads what the map reads, and shares the map's weights."""
    node, other = found.node, linear.node
    assert isinstance(node.action, OpNode) and isinstance(other.action, OpNode)
    own = {w.name: Attr(f"{other.name}.{w.name}", other.span) for w in linear.weights}
    scores = node.inputs["x"]
    guard = dict.fromkeys((*other.guard, *(ref for ref in node.guard if ref != scores)))
    changed = replace(
        node,
        action=replace(node.action, shares={**other.action.shares, **own}),
        inputs={**node.inputs, "x": other.inputs["x"]},
        guard=tuple(guard),
    )
    return replace(found, node=changed)
