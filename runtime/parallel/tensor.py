"""Tensor parallelism: a module's weights laid on the ranks that share each layer, by torch's own engine.

The module's text is the one in style `local`: it takes the number of heads from what a rank holds (`-1`), and
calls a tied head as a module. So the same text runs whole on one rank and in parts on several.
"""

from __future__ import annotations

from typing import Any, Final, cast

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from compiler.parallel.placement import Placement
from compiler.parallel.styles import COLWISE, REPLICATE, ROWWISE, SHARED, TABLE, TABLE_COLUMNS
from runtime.parallel.grouped import Grouped

HEADS: Final = 1  # the axis of heads in [B, heads, T, head_dim]


class HeadNorm(ParallelStyle):
    """A norm over single heads, of which each rank has some: the gradients of its weights are added.

    torch's SequenceParallel does the same, but lets weights that are frozen learn.
    """

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        hooks = cast("Any", (_some_heads, _those_heads))  # annotated in torch as if they gave nothing
        return distribute_module(module, device_mesh, None, *hooks)


def _some_heads(module: nn.Module, inputs: tuple[Tensor], mesh: DeviceMesh) -> DTensor:
    return DTensor.from_local(inputs[0], mesh, [Shard(HEADS)], run_check=False)


def _those_heads(module: nn.Module, output: DTensor, mesh: DeviceMesh) -> Tensor:
    return output.to_local()


class TiedHead(ParallelStyle):
    """Scores by a table of which each rank holds rows: of (x, weight) every rank gets all scores."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        hooks = cast("Any", (_whole_input, _whole_output))
        return distribute_module(module, device_mesh, None, *hooks)


def _whole_input(module: nn.Module, inputs: Any, mesh: DeviceMesh) -> tuple[DTensor, Tensor]:
    x, weight = inputs
    return DTensor.from_local(x, mesh, [Replicate()], run_check=False), weight


def _whole_output(module: nn.Module, output: Any, mesh: DeviceMesh) -> Tensor:
    found: Tensor = output.redistribute(mesh, [Replicate()]).to_local()
    return found


def split(model: nn.Module, placement: Placement, mesh: DeviceMesh) -> nn.Module:
    """Lay the weights of a module on the ranks of a mesh of one dimension; the same module.

    model: built in style `local`, on device "meta" too; its weights, if there are any, equal on all ranks.
    Afterwards a weight that is split is a DTensor of its whole shape under its own name. `forward` takes
    and gives whole values, the same on every rank. There is no `new_cache`: a model that generates is loaded
    whole.
    """
    for name, module in list(model.named_modules()):
        style = placement.style(name)
        if style != REPLICATE:
            parallelize_module(module, mesh, _style(module, style))
    if hasattr(model, "new_cache"):
        model.__dict__["new_cache"] = _no_cache
    return model


def _style(module: nn.Module, style: str) -> ParallelStyle:
    """torch's own style for one of ours, where it has it; what is left is a head, tied or not."""
    if style in (COLWISE, ROWWISE) and not isinstance(module, nn.Linear):
        return Grouped(style)
    if style in (COLWISE, TABLE_COLUMNS):
        return ColwiseParallel()
    if style == ROWWISE:
        return RowwiseParallel()
    if style == TABLE:
        return RowwiseParallel(input_layouts=Replicate())
    if style == SHARED:
        return HeadNorm()
    is_tied = next(module.parameters(), None) is None
    return TiedHead() if is_tied else ColwiseParallel(output_layouts=Replicate())


def _no_cache(*arguments: object) -> None:
    raise ValueError(
        "a model that is split over ranks keeps no cache: generate with one that is loaded whole"
    )
