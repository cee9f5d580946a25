"""The resolved graph: names bound, blocks expanded, closures lifted into inputs. Types are still unknown.

A Block is one instance of a block definition; a Repeat elaborates each distinct layer once.
Every Ref is local to its
block: what an inner block captures from an outer one arrives through an input port of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler.ir.values import Value
from compiler.source.text import Span
from compiler.syntax.types import TypePattern


@dataclass(frozen=True)
class Ref:
    """A value inside a block: an input (port ""), or an output of a node."""

    node: str
    port: str = ""

    def __str__(self) -> str:
        return f"{self.node}.{self.port}" if self.port else self.node


@dataclass(frozen=True)
class Attr:
    """An attribute's or param's value and the place that set it."""

    value: Value
    span: Span


@dataclass(frozen=True)
class InputPort:
    """An input of a block. Captures have no declared type."""

    name: str
    pattern: TypePattern | None
    span: Span
    maybe: bool = False  # may be None when the module runs
    default: Ref | None = None  # the node that stands in when it is None
    capture: bool = False


@dataclass(frozen=True)
class OpNode:
    """A primitive with evaluated attributes; `shares` ties a weight to another node's."""

    op: str
    attrs: Mapping[str, Attr]
    shares: Mapping[str, Attr] = field(default_factory=dict[str, Attr])


@dataclass(frozen=True)
class UseNode:
    """A call of one block instance."""

    block: Block


@dataclass(frozen=True)
class RepeatNode:
    """A chain of layers: layer i is an instance of bodies[layers[i]], and module modules[i] of the list."""

    bodies: tuple[Block, ...]
    layers: tuple[int, ...]
    modules: tuple[int, ...]
    carried: str  # input port that receives the previous layer's output
    labels: tuple[str, ...]  # a name per body, "" where there is one


@dataclass(frozen=True)
class SameNode:
    """A second call of another node of the block, with the same weights."""

    target: str


Action = OpNode | UseNode | RepeatNode | SameNode


@dataclass(frozen=True)
class Node:
    """A step of a block.

    inputs: port -> reference, or references: of a variadic port, or one for each body of a repeat.
    guard: values that must not be None for the step to run; its outputs are None otherwise, or `fallback`.
    """

    name: str
    span: Span
    action: Action
    inputs: Mapping[str, Ref | tuple[Ref, ...]]
    outputs: tuple[str, ...]
    guard: tuple[Ref, ...] = ()
    fallback: Ref | None = None
    input_spans: Mapping[str, Span] = field(default_factory=dict[str, Span])

    def refs(self) -> tuple[Ref, ...]:
        """Every value the step reads, in port order."""
        out: list[Ref] = []
        for value in self.inputs.values():
            out += value if isinstance(value, tuple) else (value,)
        if self.fallback is not None:
            out.append(self.fallback)
        return tuple(out)


@dataclass(frozen=True)
class Block:
    """An instance of a block definition (or of a spec: the root)."""

    name: str  # of the definition: "attention"
    path: str  # of the instance: "h.attn"; "" for the root
    span: Span
    summary: str
    source: str
    params: Mapping[str, Attr]
    inputs: tuple[InputPort, ...]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, Ref]
    output_spans: Mapping[str, Span]
    maybe: frozenset[str] = frozenset()  # outputs that may be None when the module runs
    early: str = ""  # one of those, after which nothing else is computed where it is not None

    def input(self, name: str) -> InputPort:
        """The port of that name."""
        return next(p for p in self.inputs if p.name == name)


@dataclass(frozen=True)
class Method:
    """An entry point beside `forward`: a graph of its own over the same weights."""

    name: str
    span: Span
    summary: str
    outputs: Mapping[str, Ref]
    cut: Mapping[str, Ref]  # new input name -> value it stands for


@dataclass(frozen=True)
class InitRule:
    """Initial values of the weights that `pattern` reaches:
    an op weight (`linear.weight`) or a path with `*`.
    """

    pattern: str
    value: Value
    span: Span
    by_path: bool


@dataclass(frozen=True)
class Path:
    """A path with `*` as written: `h.*.attn.q`."""

    text: str
    span: Span

    def reaches(self, name: str) -> bool:
        """Whether a path, or the beginning of one, is what this one says."""
        own, parts = self.text.split("."), name.split(".")
        return len(own) <= len(parts) and all(o in ("*", p) for o, p in zip(own, parts, strict=False))


@dataclass(frozen=True)
class Adapters:
    """Low-rank additions to the linear maps at some paths; everything but these and `train` is frozen."""

    at: tuple[Path, ...]
    train: tuple[Path, ...]
    rank: int
    alpha: float
    dropout: float


@dataclass(frozen=True)
class Graph:
    """A whole resolved spec."""

    root: Block
    task: str
    parents: tuple[str, ...]
    max_dims: Mapping[str, Attr]
    methods: tuple[Method, ...]
    init: tuple[InitRule, ...]
    io: Mapping[str, Value]
    adapters: Adapters | None = None
