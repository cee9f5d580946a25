"""Running compiled models: loading, exporting, adapters."""

from __future__ import annotations

from runtime.adapters import load_adapter, merge, save_adapter
from runtime.export import export
from runtime.load import load

__all__ = ["export", "load", "load_adapter", "merge", "save_adapter"]
