"""Tensors of a fused module, and the tensors of its spec that they hold, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from compiler.backend.build import program_of


def spec_state(model: nn.Module) -> dict[str, Tensor]:
    """A module's state under the names of its spec; parts of a joined tensor are views of it."""
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    try:
        program = program_of(model)
    except TypeError:  # somebody else's module: nothing is joined
        return state
    shapes = {p.name: p.shape for p in program.table.parameters}
    for join in program.joins:
        parts = state.pop(join.name).split([shapes[part][0] for part in join.parts])
        state |= dict(zip(join.parts, parts, strict=True))
    return state


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """The parts one below the other: a view where they lie so in memory, else a copy."""
    first = parts[0]
    rows = sum(part.shape[0] for part in parts)
    if all(_follows(above, below) for above, below in pairwise(parts)):
        return first.as_strided((rows, *first.shape[1:]), first.stride(), first.storage_offset())
    return torch.cat(list(parts))


def _follows(above: Tensor, below: Tensor) -> bool:
    """Whether a tensor goes on in memory where another ends."""
    return bool(
        above.untyped_storage().data_ptr() == below.untyped_storage().data_ptr()
        and above.dtype is below.dtype
        and above.stride() == below.stride()
        and below.storage_offset() == above.storage_offset() + above.shape[0] * above.stride(0)
    )
