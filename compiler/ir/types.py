"""The types of values: an element kind and a symbolic shape."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.dims import Dim, product


@dataclass(frozen=True)
class TensorType:
    """dtype[axes]: `float[B, T, 768]`."""

    dtype: str
    shape: tuple[Dim, ...]

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def numel(self) -> Dim:
        """The number of elements."""
        return product(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.dtype.startswith(("float", "bfloat"))

    def axes(self) -> str:
        """The shape as it is written: `[B, T, 768]`."""
        return "[" + ", ".join(str(d) for d in self.shape) + "]"

    def __str__(self) -> str:
        return self.dtype + self.axes()


def same_kind(declared: str, found: str) -> bool:
    """Whether a value of dtype `found` may stand where `declared` is asked for."""
    if declared == "float":
        return found.startswith(("float", "bfloat"))
    if declared == "int":
        return found.startswith("int")
    return declared in (found, "any")
