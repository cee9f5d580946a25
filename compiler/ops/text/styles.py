"""The ways to write one program: native views, einops to teach from, views of what one rank holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from compiler.ops.text import axes, axes_einops, basic
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
        "local": MappingProxyType(
            {
                **TEXTS,
                "linear": partial(basic.linear, local=True),
                "rearrange": partial(axes.rearrange, local=True),
                "reduce": partial(axes.reduce, local=True),
            }
        ),
    }
)
