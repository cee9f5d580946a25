"""The ways to write one program: native views, or einops for teaching."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from compiler.ops.text import axes_einops
from compiler.ops.text.context import Context, Text
from compiler.ops.text.table import TEXTS

Texts = Mapping[str, Callable[[Context], Text]]

STYLES: Mapping[str, Texts] = MappingProxyType(
    {
        "views": TEXTS,
        "einops": MappingProxyType(
            {
                **TEXTS,
                "rearrange": axes_einops.rearrange,
                "expand": axes_einops.expand,
                "reduce": axes_einops.reduce,
                "einsum": axes_einops.einsum,
            }
        ),
    }
)
