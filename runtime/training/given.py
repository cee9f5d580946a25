"""What is known of a run before it trains: what its figures and its loss can be taken of, and what not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Generic, TypeVar

from torch import Tensor

from compiler.ir.program import Program
from runtime.extras import install
from runtime.training.data.common import Data, Example

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Given:
    """A run's data, one batch of it as it is evaluated, and its model."""

    data: Data
    batch: Example
    program: Program

    @property
    def example(self) -> Example:
        """One example that figures are reported on, before it is put into a batch."""
        return self.data.final.example(0, None)

    @property
    def outputs(self) -> frozenset[str]:
        """The names of what the model gives."""
        return frozenset(self.program.typed.graph.root.outputs)

    def absent(self) -> dict[str, str]:
        """Outputs that are None with this data, each with the optional input that it needs."""
        root = self.program.typed.graph.root
        optional = (port.name for port in root.inputs if port.maybe and port.default is None)
        causes = {name: name for name in optional if name not in self.batch}
        for node in root.nodes:
            cause = next((causes[ref.node] for ref in node.guard if ref.node in causes), None)
            if cause is not None and node.fallback is None:
                causes[node.name] = cause
        return {name: causes[ref.node] for name, ref in root.outputs.items() if ref.node in causes}

    def why_not_classes(self, output: str) -> str:
        """Why the last axis of an output is not of scores for the labels, a class each; empty where it is."""
        if output not in self.outputs:
            return f"needs a model with the output `{output}`"
        root = self.program.typed.root
        labels, scores = self.batch["labels"], root.type_of(root.block.outputs[output])
        if labels.is_floating_point():
            return "needs labels that are whole numbers, and those of the data are not"
        sizes = [dim.constant for dim in scores.shape[:-1]]
        fits = len(sizes) == labels.dim() and all(
            size in (None, length) for size, length in zip(sizes, labels.shape, strict=True)
        )
        if not fits:
            shape = list(labels.shape)
            return f"needs scores of classes along the last axis of `{output}`, {scores}; labels are {shape}"
        return ""


@dataclass(frozen=True)
class Entry(Generic[F]):
    """A row of a table. of: what computes it; why_not: why it cannot, empty where it can."""

    of: F
    why_not: Callable[[Given], str]


def is_whole(values: Tensor | None) -> bool:
    """Whether something is there, of whole numbers."""
    return values is not None and not values.is_floating_point()


def why_not_installed(module: str, name: str, extra: str) -> str:
    """Why a library of one of this project's extras is not there, empty where it is."""
    if find_spec(module) is not None:
        return ""
    return f"needs {name}: {install(extra)}"
