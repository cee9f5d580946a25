"""What the config tables of the maps know."""

from __future__ import annotations

from compiler.weights.library import Library


def activations(name: str, path: str) -> list[str]:
    """Every activation function that a map reads at that key of a config."""
    table = Library.standard().load(name).config
    assert table is not None
    (key,) = (key for key in table.keys if key.path == path)
    assert key.values
    return [str(name) for name in key.values]
