"""The libraries that this package asks for only where they are needed."""

from __future__ import annotations


def install(extra: str) -> str:
    """The command that brings an extra, as an error's help says it."""
    return f'`python -m pip install "blockwright[{extra}]"`'
