"""The typed graph: the resolved graph with a type on every value and every attribute computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compiler.ir.dims import Dim, dim
from compiler.ir.graph import Block, Graph, Node, Ref, RepeatNode, SameNode
from compiler.ir.opdef import Weight
from compiler.ir.parameters import Join
from compiler.ir.types import TensorType
from compiler.ir.values import Value


@dataclass(frozen=True)
class TypedNode:
    """A step with the types of its outputs, its attributes, its own weights and what it costs.

    children: the typed blocks it calls, one per body of a repeat.
    flops: of the step itself, children included, in floating-point operations.
    """

    node: Node
    outputs: Mapping[str, TensorType]
    attrs: Mapping[str, Value]
    weights: tuple[Weight, ...]
    flops: Dim
    children: tuple[TypedBlock, ...] = ()

    def layer_counts(self) -> tuple[int, ...]:
        """How often each child runs."""
        if isinstance(self.node.action, RepeatNode):
            return tuple(self.node.action.layers.count(k) for k in range(len(self.children)))
        return (1,) * len(self.children)

    def module_counts(self) -> tuple[int, ...]:
        """How many modules of each child exist; a second call of a node makes none."""
        action = self.node.action
        if isinstance(action, RepeatNode):
            kinds = {m: body for body, m in zip(action.layers, action.modules, strict=True)}
            return tuple(list(kinds.values()).count(k) for k in range(len(self.children)))
        return (0 if isinstance(action, SameNode) else 1,) * len(self.children)


@dataclass(frozen=True)
class TypedBlock:
    """A block instance: its dims bound, its params computed, its values typed."""

    block: Block
    dims: Mapping[str, Dim]
    params: Mapping[str, Value]
    inputs: Mapping[str, TensorType]
    nodes: tuple[TypedNode, ...]

    def type_of(self, ref: Ref) -> TensorType:
        """The type of a value in the block."""
        if ref.node in self.inputs:
            return self.inputs[ref.node]
        return self.node(ref.node).outputs[ref.port]

    def node(self, name: str) -> TypedNode:
        """The node of that name."""
        return next(n for n in self.nodes if n.node.name == name)

    @property
    def flops(self) -> Dim:
        """The cost of the block's nodes."""
        total = dim(0)
        for node in self.nodes:
            total = total + node.flops
        return total

    def parameter_count(self) -> int:
        """Elements of all weights, ties counted once."""
        total = 0
        for node in self.nodes:
            for weight in node.weights:
                size = 1
                for d in weight.shape:
                    size *= d.constant or 0
                total += size
            for child, count in zip(node.children, node.module_counts(), strict=True):
                total += child.parameter_count() * count
        return total

    def walk(self) -> Iterator[TypedBlock]:
        """This block and all blocks below it, each distinct layer once."""
        yield self
        for node in self.nodes:
            for child in node.children:
                yield from child.walk()


@dataclass(frozen=True)
class Joined:
    """What fusing changed: the root as the spec has it, and the tensors that hold several of its own."""

    before: TypedBlock
    tensors: tuple[Join, ...]


@dataclass(frozen=True)
class TypedGraph:
    """A whole spec, proved."""

    graph: Graph
    root: TypedBlock
    cached: frozenset[Dim]  # the lengths of which earlier tokens are remembered
    joined: Joined | None = None
