"""A module spread over a mesh by torch's own engine, and gathered again.

Layers are split over the processes that share them (DTensor), then what each holds is cut over the shares of
the data, a repeated block at a time (FSDP2).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from compiler.parallel.placement import Placement, matches
from runtime.parallel.tensor import split

DATA: Final = "data"  # the dimensions of the mesh
TENSOR: Final = "tensor"


def sharded(
    model: nn.Module, values: dict[str, Any], placement: Placement, mesh: DeviceMesh, device: torch.device
) -> nn.Module:
    """A module on the meta device, cut over the mesh, with the values that the first process has.

    Gradients come out as the sum over the shares of the data: the losses bear their weights already.
    """
    if mesh[TENSOR].size() > 1:
        split(model, placement, mesh[TENSOR])
    units = [m for name, m in model.named_modules() if any(matches(p, name) for p in placement.units)]
    for unit in [*units, model]:
        cut = fully_shard(unit, mesh=mesh[DATA])
        cut.set_gradient_divide_factor(1.0)
        cut.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sums
    model.to_empty(device=device)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, values, options=options)
    return model


def gathered(model: nn.Module) -> dict[str, Any]:
    """All values in the memory of the first process; nothing on the others."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
