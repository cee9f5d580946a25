"""Generators that are functions of numbers: one for each example that a run draws."""

from __future__ import annotations

from typing import Final

import torch

_PRIME: Final = 1_000_003


def generator(seed: int, draw: int) -> torch.Generator:
    """A generator for one draw of a run."""
    return torch.Generator().manual_seed((seed * _PRIME + draw) % 2**63)
