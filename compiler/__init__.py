"""A declarative model-spec compiler: YAML architectures, proved in shape, as PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compiler.diagnostics.diagnostic import CompileError
from compiler.pipeline import Overrides, compile, emit

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["CompileError", "build", "compile", "emit"]


def build(
    source: str | Path,
    *,
    set: Overrides | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """A spec as an nn.Module, initialised by the spec's rules; `device="meta"` allocates nothing.

    source, set: as for `compile`. dtype: of the parameters that follow the module's dtype, default torch's own.
    """
    from compiler.backend.build import build as construct

    return construct(compile(source, set=set), device=device, dtype=dtype)
