"""Running compiled models: loading, exporting, generating, adapters, training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime.adapters import load_adapter, merge, save_adapter
    from runtime.exporting import export
    from runtime.generation.api import generate, stream
    from runtime.loading import load
    from runtime.text.load import load_tokenizer
    from runtime.text.streaming import stream_text
    from runtime.training.run import evaluate, train

__all__ = [
    "evaluate",
    "export",
    "generate",
    "load",
    "load_adapter",
    "load_tokenizer",
    "merge",
    "save_adapter",
    "stream",
    "stream_text",
    "train",
]

#: Where each name is. No module here has the name of a function: importing it would hide the function.
_HOMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "evaluate": "runtime.training.run",
        "export": "runtime.exporting",
        "generate": "runtime.generation.api",
        "load": "runtime.loading",
        "load_adapter": "runtime.adapters",
        "load_tokenizer": "runtime.text.load",
        "merge": "runtime.adapters",
        "save_adapter": "runtime.adapters",
        "stream": "runtime.generation.api",
        "stream_text": "runtime.text.streaming",
        "train": "runtime.training.run",
    }
)


def __getattr__(name: str) -> object:
    """A name is imported with its first use: the command line answers questions without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
