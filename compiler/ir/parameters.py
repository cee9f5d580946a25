"""What the rest of the world needs to know of a compiled module's tensors: the contract with weight maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.source.text import Span

Scalar = int | float | bool | str | None
ParamValue = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class Parameter:
    """One entry of the module's state dict."""

    name: str  # "h.0.attn.q.weight"
    shape: tuple[int, ...]
    dtype: str  # "float": the dtype the module is built in; otherwise a torch dtype name
    span: Span  # the spec's line that declares it
    adapter: bool = False  # an addition that the spec's checkpoints do not hold

    @property
    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class Join:
    """A tensor of the module that holds several of the spec's, one below the other."""

    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class ParameterTable:
    """All tensors of a module, its ties, and the values of the spec's params.

    ties: alias -> owner, for weights that the module uses under a second name (`lm_head.weight` ->
    `wte.weight`); an alias is not in the state dict.
    values: the spec's params after overrides, scalars and lists of them (`depth` -> 12).
    """

    spec: str
    parents: tuple[str, ...]  # specs it extends, nearest first
    parameters: tuple[Parameter, ...]
    ties: Mapping[str, str]
    values: Mapping[str, ParamValue]
