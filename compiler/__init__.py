"""A declarative model-spec compiler: YAML architectures, proved in shape, as PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.diagnostics.diagnostic import CompileError
from compiler.version import VERSION as __version__

if TYPE_CHECKING:
    from compiler.pipeline import build, compile, emit

__all__ = ["CompileError", "__version__", "build", "compile", "emit"]


def __getattr__(name: str) -> object:
    """The pipeline is imported with its first use: `compiler.weights.readers` alone needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from compiler import pipeline

    return getattr(pipeline, name)
