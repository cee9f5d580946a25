"""The least memory that the values of a forward pass take at once, by the life of each value.

A value lives from the op that makes it to the last that reads it; running text holds some a little longer.
Weights are counted elsewhere, views share the memory of what they look at, a fused attention never holds its
scores, and the work space of kernels is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compiler.ir.dims import dim
from compiler.ir.graph import OpNode, Ref
from compiler.ir.typed import TypedBlock, TypedNode
from compiler.ir.types import TensorType

#: Ops whose result shares the memory of their input outside of training.
VIEWS = frozenset({"rearrange", "expand", "slice", "split", "cache", "dropout"})
Itemsize = Callable[[str], int]


def peak(root: TypedBlock, sizes: Mapping[str, int], itemsize: Itemsize) -> int:
    """The bytes of the values that live at the fullest step of a forward pass without gradients."""
    return _Lives(sizes, itemsize).block(root)


@dataclass(frozen=True)
class _Lives:
    sizes: Mapping[str, int]
    itemsize: Itemsize

    def block(self, block: TypedBlock) -> int:
        """The most that a block adds to what its caller holds."""
        owners = _owners(block)
        last = _last_use(block, owners)
        live: dict[Ref, int] = {}
        most = 0
        for position, typed in enumerate(block.nodes):
            held = sum(live.values())
            inside = max((self.block(child) for child in typed.children), default=0)
            made = {
                ref: self._bytes(found) for ref, found in _made(typed) if owners[ref] == ref and ref in last
            }
            if _is_weight(typed):
                continue
            most = max(most, held + max(inside, sum(made.values())))
            live |= made
            live = {ref: size for ref, size in live.items() if last[ref] > position}
        return most

    def _bytes(self, found: TensorType) -> int:
        size = found.numel.substitute({name: dim(value) for name, value in self.sizes.items()})
        return (size.constant or 0) * self.itemsize(found.dtype)


def _is_weight(typed: TypedNode) -> bool:
    return isinstance(typed.node.action, OpNode) and typed.node.action.op == "parameter"


def _made(typed: TypedNode) -> list[tuple[Ref, TensorType]]:
    return [(Ref(typed.node.name, port), found) for port, found in typed.outputs.items()]


def _owners(block: TypedBlock) -> dict[Ref, Ref]:
    """Each value and the value whose memory it uses."""
    owners = {Ref(name): Ref(name) for name in block.inputs}
    for typed in block.nodes:
        action = typed.node.action
        reads = typed.node.refs()
        is_view = isinstance(action, OpNode) and action.op in VIEWS
        for position, (ref, _) in enumerate(_made(typed)):
            owners[ref] = owners[reads[min(position, len(reads) - 1)]] if is_view else ref
    return owners


def _last_use(block: TypedBlock, owners: Mapping[Ref, Ref]) -> dict[Ref, int]:
    """The position of the last step that reads each memory; outputs are read after the end."""
    last: dict[Ref, int] = {}
    for position, typed in enumerate(block.nodes):
        for ref in typed.node.refs():
            last[owners[ref]] = position
    for ref in block.block.outputs.values():
        last[owners[ref]] = len(block.nodes)
    return last
