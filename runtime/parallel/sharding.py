"""A module spread over a mesh by torch's own engine, and gathered again.

Layers are split over the processes that share them (DTensor), then what each holds is cut over the shares of
the data, a repeated block at a time (FSDP2).
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Final, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, _redistribute

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
    assert not list(model.buffers()), "statistics of batches would differ from process to process"
    units = [m for name, m in model.named_modules() if any(matches(p, name) for p in placement.units)]
    for unit in [*units, model]:
        cut = fully_shard(unit, mesh=mesh[DATA], ignored_params=set(_scalars(model)))
        cut.set_gradient_divide_factor(1.0)
        cut.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sums
    model.to_empty(device=device)
    for scalar in _scalars(model):
        if scalar.requires_grad:
            scalar.register_hook(partial(_summed, group=mesh[DATA].get_group()))  # type: ignore[no-untyped-call]
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(model, values, options=options)
    return model


def is_cut(tensor: Tensor, along: str) -> bool:
    """Whether the processes along a dimension of the mesh have different parts of a tensor."""
    names = tensor.device_mesh.mesh_dim_names or () if isinstance(tensor, DTensor) else ()
    return along in names and not cast("DTensor", tensor).placements[names.index(along)].is_replicate()


def gathered(model: nn.Module) -> dict[str, Any]:
    """All values in the memory of the first process; nothing on the others."""
    talk = logging.getLogger(_redistribute.__name__)
    level = talk.level
    talk.setLevel(logging.ERROR)  # it warns of the order of sums, and here nothing is summed
    try:
        return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    finally:
        talk.setLevel(level)


def _scalars(model: nn.Module) -> list[nn.Parameter]:
    """Parameters without an axis to cut: every process has them whole."""
    return [parameter for parameter in model.parameters() if parameter.dim() == 0]


def _summed(gradient: Tensor, group: dist.ProcessGroup) -> Tensor:
    """A gradient summed over the shares of the data, as FSDP sums those of what it cuts."""
    whole = gradient.clone()
    dist.all_reduce(whole, group=group)
    return whole
