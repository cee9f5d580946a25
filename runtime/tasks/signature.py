"""What a compiled model takes and gives: all that a task goes by. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from compiler.ir.graph import OpNode
from compiler.ir.program import Program
from compiler.ir.typed import TypedBlock
from compiler.ir.types import TensorType
from compiler.ir.values import Value

#: The inputs that hold ids of the tokens of a text.
TOKENS: Final = ("tokens", "source")


@dataclass(frozen=True)
class Signature:
    """A spec's ports with their types, its methods' outputs, and what its `task` and `io` say.

    limits: the most that an axis may measure, by its name. vocabulary: how many tokens there are, by the
    input that holds them. is_cached: whether it remembers the tokens that it has seen.
    """

    name: str
    task: str
    inputs: Mapping[str, TensorType]
    outputs: Mapping[str, TensorType]
    methods: Mapping[str, Mapping[str, TensorType]]
    io: Mapping[str, Value]
    limits: Mapping[str, int]
    vocabulary: Mapping[str, int]
    is_cached: bool

    def takes(self, name: str, dtype: str, rank: int) -> bool:
        """Whether there is an input of that name, element kind and number of axes."""
        found = self.inputs.get(name)
        return found is not None and found.rank == rank and found.dtype.startswith(dtype)

    def gives(self, name: str, rank: int) -> bool:
        """Whether there is an output of that name and number of axes."""
        found = self.outputs.get(name)
        return found is not None and found.rank == rank

    def method_gives(self, method: str, name: str) -> bool:
        """Whether a method has an output of that name."""
        return name in self.methods.get(method, {})

    def longest(self, input: str) -> int | None:
        """The most that an input's second axis may measure: a bound, or what the spec fixes."""
        axis = self.inputs[input].shape[1]
        return axis.constant or self.limits.get(str(axis))

    def __str__(self) -> str:
        """One line for people: the task, then the ports."""
        kind = f" ({self.task})" if self.task else ""
        return f"`{self.name}`{kind} takes {_words(self.inputs)} and gives {_words(self.outputs)}"


def signature_of(program: Program) -> Signature:
    """The signature of a compiled spec."""
    typed = program.typed
    root, graph = typed.root, typed.graph
    return Signature(
        program.name,
        graph.task,
        root.inputs,
        {name: root.type_of(ref) for name, ref in root.block.outputs.items()},
        {m.name: {n: root.type_of(ref) for n, ref in m.outputs.items()} for m in graph.methods},
        graph.io,
        {name: bound.value for name, bound in graph.max_dims.items() if isinstance(bound.value, int)},
        _vocabulary(root),
        program.root.unit.uses_cache,
    )


def _vocabulary(root: TypedBlock) -> dict[str, int]:
    """The sizes of the tables in which tokens are looked up, by the input; blocks pass it on by its name."""
    found: dict[str, int] = {}
    for block in root.walk():
        for node in block.nodes:
            action, size = node.node.action, node.attrs.get("num")
            if isinstance(action, OpNode) and action.op == "embedding" and isinstance(size, int):
                found |= {ref.node: size for ref in node.node.refs() if ref.node in TOKENS}
    return found


def _words(ports: Mapping[str, TensorType]) -> str:
    return ", ".join(f"{name} {type}" for name, type in ports.items() if name not in ("labels", "loss"))
