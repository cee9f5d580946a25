"""What an op's text may refer to."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.code import ATOM, LOOSE, Code, Lit, Piece, State, Var, size_piece
from compiler.ir.dims import Dim
from compiler.ir.graph import Attr, OpNode, Ref
from compiler.ir.opdef import OpCall, OpFault
from compiler.ir.typed import TypedBlock, TypedNode
from compiler.ir.types import TensorType
from compiler.ir.values import Value


@dataclass(frozen=True)
class Context:
    """One op node of a typed block, and the name of its member."""

    block: TypedBlock
    typed: TypedNode
    member: str
    call: OpCall
    cached: frozenset[Dim]  # the lengths of which earlier tokens are remembered

    @property
    def op(self) -> OpNode:
        """The op and its attributes."""
        action = self.typed.node.action
        assert isinstance(action, OpNode)
        return action

    def past(self, length: Dim) -> Piece:
        """How many tokens came before those of a length."""
        return State("past") if length in self.cached else "0"

    def attr(self, name: str) -> Value:
        """An attribute's value."""
        return self.typed.attrs[name]

    def lit(self, name: str) -> Lit:
        """An attribute as a literal."""
        value = self.typed.attrs[name]
        if isinstance(value, Dim):
            value = value.constant
        return Lit(value, name)

    def var(self, port: str, least: int = LOOSE) -> Var:
        """The value at a port."""
        ref = self.typed.node.inputs[port]
        assert isinstance(ref, Ref)
        return Var(ref, least)

    def vars(self, port: str, least: int = LOOSE) -> list[Code]:
        """The values at a variadic port."""
        refs = self.typed.node.inputs[port]
        assert isinstance(refs, tuple)
        return [Code((Var(r, least),), LOOSE) for r in refs]

    def has(self, port: str) -> bool:
        """Whether a port is wired."""
        return port in self.typed.node.inputs

    def type(self, port: str) -> TensorType:
        """The type of the value at a port."""
        ref = self.typed.node.inputs[port]
        assert isinstance(ref, Ref)
        return self.block.type_of(ref)

    def size(self, size: Dim, hint: str) -> Piece:
        """A size as code; hint: the name it gets where instances differ."""
        return size_piece(size, hint)

    def share(self, weight: str) -> Attr | None:
        """What a weight is shared with."""
        return self.op.shares.get(weight)

    def any_input(self) -> Code:
        """A tensor that is there before the node, for its device. Raises OpFault if there is none."""
        for port in self.block.block.inputs:
            if not port.maybe and not (port.pattern is not None and port.pattern.optional):
                return Code((Var(Ref(port.name), ATOM),))
        for typed in self.block.nodes[: self.block.nodes.index(self.typed)]:
            for port_name in typed.outputs:
                if not typed.node.guard:
                    return Code((Var(Ref(typed.node.name, port_name), ATOM),))
        raise OpFault(
            "missing-input",
            "no tensor stands before it, to know the device by",
            help="give the block an input, or put a `parameter` in front",
        )


@dataclass(frozen=True)
class Text:
    """An op in text: the constructor of its member if it has one, and an expression per output."""

    outputs: dict[str, Code]
    member: Code | None = None
    inline: bool = True
    joint: bool = False  # one expression yields all outputs
