"""What every kind of data gives: examples to train on, examples held out, and facts about them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import CompileError, fail
from compiler.source.text import Span
from runtime.extras import install
from runtime.training.fields import KindSection, MaybeWhole, MaybeWord, Share, Word

if TYPE_CHECKING:
    from runtime.training.tokenizer import Tokenizing

#: Where fetched data lies: the folder in this variable, by default DEFAULT_FOLDER below the current one.
FOLDER_VARIABLE: Final = "BLOCKWRIGHT_DATA"
DEFAULT_FOLDER: Final = ".cache/artifacts"
IGNORED: Final = -100  # a label that no loss counts

Example = dict[str, Tensor]
Source = Tensor | str
Collate = Callable[[Sequence[Example]], Example]


class Examples(Protocol):
    """Examples by number."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """One example. rng: chooses among its forms (crops, masks); None: the one that is evaluated."""
        ...

    def sources(self) -> Iterator[Source]:
        """What the examples are made of, in their order: if it is the same, so are they. For files that are
        read when their turn comes stand their names and sizes.
        """
        ...


def stack(examples: Sequence[Example]) -> Example:
    """Examples of equal shapes as one batch."""
    return {name: torch.stack([e[name] for e in examples]) for name in examples[0]}


@dataclass(frozen=True)
class Data:
    """valid: what chooses the best checkpoint; test: what it is measured on in the end, where it is apart.

    facts: sizes that a recipe's `model.set` takes as `=data.NAME`. labels: the names of the classes.
    """

    train: Examples
    valid: Examples
    test: Examples | None = None
    collate: Collate = stack
    facts: Mapping[str, int] = field(default_factory=dict[str, int])
    labels: tuple[str, ...] = ()
    tokenizer: Tokenizing | None = None
    characters_per_token: float | None = None  # of the text held out, where it is running text
    lengths: Sequence[int] | None = None  # of what is trained on, where batches are padded to the longest
    ahead: int = 0  # a label is that of the logits so many places before it
    pixel_mean: float = 0.0  # `pixels` times std plus mean is in [0, 1], from black to white
    pixel_std: float = 1.0

    @property
    def final(self) -> Examples:
        """What figures are reported on."""
        return self.test if self.test is not None else self.valid


class DataSection(KindSection):
    """get: the command that fetches the data. held_out: the share that is never trained on.
    limit: use no more examples than that.
    """

    reads_text: ClassVar[bool] = False  # and so takes a tokenizer
    get: MaybeWord = None
    held_out: Share = 0.1
    limit: MaybeWhole = None

    @property
    def asked(self) -> tuple[str, ...]:
        """What the recipe itself says that a batch is to hold: something must read it."""
        return ()

    @abstractmethod
    def read(self, tokenizer: Tokenizing | None) -> Data:
        """Read the data. tokenizer: trained on the part to train on, where it is to be trained.
        Raises CompileError.
        """

    def idle(self) -> Mapping[str, str]:
        """Fields that would do nothing beside the others, and why."""
        return {}

    def unreadable(self, path: Path, reason: object) -> CompileError:
        """The fault of a file that is not what it should be."""
        return fail("unreadable", f"`{path}` cannot be read: {reason}", self.span)


class FileSection(DataSection):
    """A file or folder, named from the current folder or from the folder of fetched data."""

    path: Word

    def found(self) -> Path:
        """Where it is. Raises CompileError that says how it is fetched."""
        return located(self.path, self.span, self.get)


def located(name: str, span: Span, get: str | None) -> Path:
    """A file or folder, named from the current folder or from the folder of fetched data."""
    fetched = Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER))
    for path in (Path(name), fetched / name):
        if path.exists():
            return path
    cure = f"fetch it: `{get}`" if get else f"looked in the current folder and in `{fetched}`"
    raise fail("not-found", f"there is no `{name}`", span, help=cure)


def needs_extra(what: str, library: str, extra: str, span: Span) -> CompileError:
    """The fault of a library that is not installed. extra: of this package, which brings it."""
    return fail("usage", f"reading {what} needs the {library} library", span, help=install(extra))


def shuffled(size: int) -> list[int]:
    """An order of examples that is the same in every run: a split must not depend on the run's seed."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(0)).tolist()
