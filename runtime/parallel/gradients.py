"""Gradients that may lie in parts on several processes, cut in more than one way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_


def clip_to(parameters: Sequence[nn.Parameter], most: float, norm: Tensor) -> None:
    """Scale gradients of a known norm so that it is `most` at the most."""
    groups: dict[Any, list[nn.Parameter]] = {}
    for parameter in parameters:  # torch takes those on one mesh at once, no others
        groups.setdefault(getattr(parameter.grad, "device_mesh", None), []).append(parameter)
    for group in groups.values():
        clip_grads_with_norm_(group, most, norm)


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process has."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part
