"""Norm and clipping of gradients that may lie in parts on several processes, cut in more than one way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


def total_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """The 2-norm of all gradients, float[], the same on every process."""
    norms = [_full(get_total_norm([_grad(p) for p in group])) for group in _alike(parameters)]
    return norms[0] if len(norms) == 1 else get_total_norm(norms)


def clip_to(parameters: Sequence[nn.Parameter], most: float, norm: Tensor) -> None:
    """Scale gradients of a known norm so that it is `most` at the most."""
    for group in _alike(parameters):
        clip_grads_with_norm_(group, most, norm)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process has."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def _alike(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Those on one mesh together: torch's functions take no others at once."""
    groups: dict[Any, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(getattr(_grad(parameter), "device_mesh", None), []).append(parameter)
    return list(groups.values())


def _grad(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _full(tensor: Tensor) -> Tensor:
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole
