"""How an op is declared: ports, attributes, a shape rule and a cost rule. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from compiler.ir.dims import Dim, dim
from compiler.ir.types import TensorType
from compiler.ir.values import Value


@dataclass(frozen=True)
class PortDecl:
    """A named input of an op. A variadic port takes a list."""

    name: str
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True)
class AttrDecl:
    """A static attribute. kind: size, int, float, bool, str, pattern, expr, sizes, names or init."""

    name: str
    kind: str
    default: Value = None
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Weight:
    """A learnable tensor of an op: its state-dict segment, shape,
    and initial values if the spec gives no rule.
    """

    name: str
    shape: tuple[Dim, ...]
    init: Value = None
    trainable: bool = True
    dtype: str = "float"


@dataclass(frozen=True)
class Typing:
    """What a shape rule finds: the type of each output and the op's own weights."""

    outputs: Mapping[str, TensorType]
    weights: tuple[Weight, ...] = ()


class OpFault(Exception):
    """A shape rule's refusal. `port` points at the input that disagrees, `attr` at the attribute."""

    def __init__(self, code: str, message: str, *, port: str = "", attr: str = "", help: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.port, self.attr, self.help = code, message, port, attr, help


@dataclass(frozen=True)
class OpCall:
    """One application of an op, as its rules see it.

    axes: the sizes that names in patterns stand for (params and dims of the enclosing block).
    """

    inputs: Mapping[str, TensorType]
    lists: Mapping[str, tuple[TensorType, ...]]
    attrs: Mapping[str, Value]
    axes: Callable[[str], Dim | None]
    keys: Callable[[Dim], Dim]  # how many keys queries of a length meet, past ones included

    def size(self, attr: str) -> Dim:
        """An attribute as a positive size."""
        value = self.attrs[attr]
        if isinstance(value, Dim):
            return value
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise OpFault("bad-dim", f"`{attr}` must be a positive whole number, not {value}", attr=attr)
        return dim(value)


def no_cost(call: OpCall, typing: Typing) -> Dim:
    """The cost rule of an op that only moves values."""
    return dim(0)


def per_element(factor: int) -> Callable[[OpCall, Typing], Dim]:
    """A cost of `factor` operations per element of the first output."""

    def cost(call: OpCall, typing: Typing) -> Dim:
        return next(iter(typing.outputs.values())).numel * dim(factor)

    return cost


@dataclass(frozen=True)
class OpDef:
    """A primitive of the language.

    open_inputs: input ports are named by the user (`map`).
    outputs: output ports; None when the node's inputs name them (`cache`),
    or the keys of the attribute `named_by`.
    positionwise: a position's output depends on that position alone, for every axis but the last.
    """

    name: str
    summary: str
    infer: Callable[[OpCall], Typing]
    inputs: tuple[PortDecl, ...] = (PortDecl("x"),)
    attrs: tuple[AttrDecl, ...] = ()
    outputs: tuple[str, ...] | None = ("y",)
    named_by: str = ""
    cost: Callable[[OpCall, Typing], Dim] = no_cost
    open_inputs: bool = False
    positionwise: bool = False
    #: attribute -> value at which the op passes its input through (`dropout` with p 0)
    identity_when: Mapping[str, Value] = field(default_factory=dict[str, Value])

    def attr(self, name: str) -> AttrDecl | None:
        """The attribute of that name."""
        return next((a for a in self.attrs if a.name == name), None)

    def port(self, name: str) -> PortDecl | None:
        """The input of that name."""
        return next((p for p in self.inputs if p.name == name), None)
