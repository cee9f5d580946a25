"""The passes that buy speed or memory, by name. None runs unasked: the plain text is the one to read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final

from compiler.diagnostics.diagnostic import fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.typed import TypedGraph
from compiler.passes.fuse import fuse
from compiler.passes.loss import loss

#: In the order in which they run: `fuse` leaves apart what `loss` has tied.
OPTIMIZATIONS: Final[Mapping[str, Callable[[TypedGraph], TypedGraph]]] = MappingProxyType(
    {"loss": loss, "fuse": fuse}
)


def optimize(graph: TypedGraph, names: Collection[str]) -> TypedGraph:
    """The graph after the passes of these names. Raises CompileError for a name that is none."""
    wanted = (names,) if isinstance(names, str) else names
    for name in wanted:
        if name not in OPTIMIZATIONS:
            raise fail(
                "usage", f"no optimization is called `{name}`", None, help=did_you_mean(name, OPTIMIZATIONS)
            )
    for name, run in OPTIMIZATIONS.items():
        graph = run(graph) if name in wanted else graph
    return graph
