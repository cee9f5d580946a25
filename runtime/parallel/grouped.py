"""Tensor parallelism of maps side by side, such as the experts of a layer: every rank has a part of each.

torch has styles for nn.Linear only, and no grouped product of DTensors: the module runs on what a rank holds.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ParallelStyle

from compiler.parallel.styles import COLWISE, split_axis


class Grouped(ParallelStyle):
    """`colwise` or `rowwise` of a module that is called with (x, count): weight [groups, out, in]."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.style = style

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        for name, parameter in list(module.named_parameters()):
            axis = split_axis(self.style, name, parameter.dim())
            where: Placement = Replicate() if axis is None else Shard(axis)
            held = distribute_tensor(parameter, device_mesh, [where], src_data_rank=self.src_data_rank)
            module.register_parameter(name, nn.Parameter(held, requires_grad=parameter.requires_grad))
        running = _Running(device_mesh, self.style == COLWISE)
        module.register_forward_pre_hook(running.enter)
        module.register_forward_hook(running.leave, always_call=True)
        return module


class _Running:
    """Plain tensors as weights while a module runs; its value or its gradient added over the ranks."""

    def __init__(self, mesh: DeviceMesh, opens: bool) -> None:
        self.mesh, self.opens = mesh, opens
        self.held: dict[str, Any] = {}

    def enter(self, module: nn.Module, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Each rank reads all of x with its part of the maps, or its part of x."""
        self.held = dict(module._parameters)
        for name, parameter in self.held.items():
            if parameter is not None:
                module._parameters[name] = parameter.to_local()
        x, count = inputs
        if self.opens:
            whole = DTensor.from_local(x, self.mesh, [Replicate()], run_check=False)
            x = whole.to_local(grad_placements=[Partial()])
        return x, count

    def leave(self, module: nn.Module, inputs: object, output: Any) -> Any:
        """A part of the result, or the sum of all ranks' results."""
        module._parameters.update(self.held)
        if self.opens or output is None:
            return output
        return (
            DTensor.from_local(output, self.mesh, [Partial()])
            .redistribute(self.mesh, [Replicate()])
            .to_local()
        )
