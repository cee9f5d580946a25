"""The program: classes, members, steps, in the order they will be written.
What emit prints and plans are made on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.ir.code import Code, Literal
from compiler.ir.dims import Dim
from compiler.ir.graph import Ref
from compiler.ir.parameters import Join, Parameter, ParameterTable
from compiler.ir.typed import TypedBlock, TypedGraph
from compiler.ir.types import TensorType
from compiler.ir.values import Value
from compiler.source.text import Span


@dataclass(frozen=True)
class Member:
    """`self.name = ...`: a module or parameter made by a constructor, or instances of another class.

    children: the units it holds; layers: for a list, the child of each entry (None: one child, no list).
    """

    name: str
    code: Code | None
    children: tuple[Unit, ...] = ()
    layers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Argument:
    """An argument of `forward`."""

    name: str
    optional: bool


@dataclass(frozen=True)
class Step:
    """An assignment. Runs only if no value of `guard` is None; its targets are None, or
    `fallback`, otherwise.

    inline: its text may move into its single reader.
    """

    targets: tuple[Ref, ...]
    code: Code
    types: tuple[TensorType, ...]
    span: Span
    guard: tuple[Ref, ...] = ()
    fallback: Ref | None = None
    inline: bool = True


@dataclass(frozen=True)
class Loop:
    """`x = start; for layer in self.member: x = layer(x, ...)`.

    order: the modules to run, if not each once in turn.
    """

    target: Ref
    member: str
    start: Ref
    arguments: tuple[Code | None, ...]  # None: where the carried value goes
    order: tuple[int, ...] | None
    type: TensorType
    span: Span
    cached: bool
    taps: tuple[Ref, ...] = ()  # outputs of single layers that are read: ref.port is the layer
    is_counted: bool = False  # an argument depends on the layer's number `i`


@dataclass(frozen=True)
class Default:
    """`if name is None: name = value`, placed after the node that computes the value."""

    name: str
    value: Ref


@dataclass(frozen=True)
class Once:
    """Steps whose results are computed at the first call with a cache, kept there, and read from then on."""

    name: str  # the cache's key
    actions: tuple[Action, ...]
    targets: tuple[Ref, ...]


@dataclass(frozen=True)
class Slots:
    """The tensors that one cache node keeps: their shapes with the batch and key axes symbolic.

    No shapes: it keeps what the first call computes, of whatever shape.
    """

    name: str
    shapes: tuple[tuple[Dim, ...], ...]


Action = Step | Loop | Default | Once


@dataclass(frozen=True, eq=False)
class Unit:
    """One block instance in program form. Units of equal structure become one class."""

    typed: TypedBlock
    arguments: tuple[Argument, ...]
    members: tuple[Member, ...]
    actions: tuple[Action, ...]
    outputs: Mapping[str, Ref]
    slots: tuple[Slots, ...]
    uses_past: bool
    uses_cache: bool

    @property
    def path(self) -> str:
        """Where the instance stands in the spec."""
        return self.typed.block.path


@dataclass(frozen=True)
class ClassDecl:
    """A class of the text: its name, the instances that share it, and the literals that vary between them.

    arguments: constructor arguments; holes: for each literal in text order, its value or the argument it is.
    """

    name: str
    units: tuple[Unit, ...]
    arguments: tuple[str, ...]
    holes: tuple[Literal | str, ...]
    varies: tuple[bool, ...]

    @property
    def unit(self) -> Unit:
        """The first instance, from which the text is written."""
        return self.units[0]


@dataclass(frozen=True)
class MethodDecl:
    """An entry point of the root class: its own steps over the root's members."""

    name: str
    summary: str
    arguments: tuple[Argument, ...]
    actions: tuple[Action, ...]
    outputs: Mapping[str, Ref]
    cut: Mapping[str, Ref]  # argument -> the value that it replaces
    cached: bool  # it reads and fills the cache
    is_stage: bool = False  # forward calls it


@dataclass(frozen=True)
class Init:
    """The initial value of one tensor: `op.weight`, or `op` alone for a `parameter`."""

    parameter: str
    owner: str
    value: Value


@dataclass(frozen=True)
class Program:
    """A compiled spec.

    table: the spec's tensors, which weight maps speak of; stored: those of the module, in which `joins` hold
    several of the spec's.
    """

    typed: TypedGraph
    classes: tuple[ClassDecl, ...]  # in dependency order, the root last
    methods: tuple[MethodDecl, ...]
    table: ParameterTable
    inits: tuple[Init, ...]
    stored: tuple[Parameter, ...]
    joins: tuple[Join, ...] = ()

    @property
    def name(self) -> str:
        """The spec's name."""
        return self.typed.root.block.name

    @property
    def root(self) -> ClassDecl:
        """The class of the whole model."""
        return self.classes[-1]
