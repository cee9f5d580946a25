"""Running compiled models: loading, exporting."""

from __future__ import annotations

from runtime.export import export
from runtime.load import load

__all__ = ["export", "load"]
