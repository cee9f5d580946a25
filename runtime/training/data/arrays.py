"""NumPy's .npz: one array for each input of a spec, and for the labels."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.diagnostics.suggest import did_you_mean
from runtime.training.data.common import Data, Example, FileSection, Source, needs_extra, shuffled
from runtime.training.fields import WordsBy


class ArraysSection(FileSection):
    """arrays: what the spec calls an input (or `labels`) -> the array of the file. Examples lie along axis 0.

    Floats become float32, whole numbers int64; nothing is scaled.
    """

    arrays: Annotated[WordsBy, Field(min_length=1)]

    @property
    def asked(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(map(str, self.arrays))

    def read(self, tokenizer: object) -> Data:
        """Part of the examples is held out, drawn at random."""
        held = self._arrays()
        sizes = {name: len(value) for name, value in held.items()}
        if len(set(sizes.values())) > 1:
            raise fail("bad-value", f"arrays of unlike length: {sizes}", self.span)
        order = shuffled(next(iter(sizes.values())))[: self.limit]
        count = round(len(order) * self.held_out)
        parts = [Rows({n: v[part] for n, v in held.items()}) for part in (order[count:], order[:count])]
        labels = held.get("labels")
        facts = {} if labels is None or labels.is_floating_point() else {"classes": int(labels.max()) + 1}
        return Data(parts[0], parts[1], facts=facts)

    def _arrays(self) -> dict[str, Tensor]:
        try:
            import numpy as np
        except ImportError:
            raise needs_extra("an .npz file", "numpy", "train", self.span) from None
        path = self.found()
        found: dict[str, Tensor] = {}
        try:
            with np.load(path, allow_pickle=False) as file:
                for name, array in self.arrays.items():
                    if array not in file:
                        cure = did_you_mean(array, file.files)
                        raise fail("bad-value", f"`{path}` has no array `{array}`", self.span, help=cure)
                    value = torch.from_numpy(file[array])
                    found[str(name)] = value.float() if value.is_floating_point() else value.long()
        except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise self.unreadable(path, error) from None
        return found


class Rows:
    """Tensors of equal length."""

    def __init__(self, columns: Mapping[str, Tensor]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """One entry of each."""
        return {name: column[index] for name, column in self.columns.items()}

    def sources(self) -> Iterator[Source]:
        """The arrays by name."""
        for name, column in self.columns.items():
            yield from (name, column)
