"""Batches in an order that is a function of seed and step alone: nothing of it needs to be saved.

The n-th example drawn in a run is the (n mod size)-th of the permutation of its epoch, and what chance does
to it comes from a generator of its own. Neither workers nor an interruption change that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from compiler.diagnostics.diagnostic import CompileError
from runtime.parallel.world import ALL, Share
from runtime.training.chance import generator
from runtime.training.data.common import Collate, Data, Example, Examples
from runtime.training.order import Epochs
from runtime.training.signals import leave_to_main

Ticket = tuple[int, int]  # which example; how many were drawn before it


class Order(Sampler[list[Ticket]]):
    """Micro-batches of tickets without end, from the `start`-th draw on; of each the share that is ours."""

    def __init__(self, epochs: Epochs, batch: int, start: int, share: Share = ALL) -> None:
        self.epochs, self.batch, self.start = epochs, batch, start
        part = batch // share.of
        self.ours = slice(share.index * part, (share.index + 1) * part)

    def __iter__(self) -> Iterator[list[Ticket]]:
        draw, epoch = self.start, -1
        order: list[int] = []
        while True:
            tickets = []
            for _ in range(self.batch):
                if draw // self.epochs.size != epoch:
                    epoch = draw // self.epochs.size
                    order = self.epochs.order(epoch)
                tickets.append((order[draw % self.epochs.size], draw))
                draw += 1
            yield tickets[self.ours]


class Drawn(Dataset[Example | CompileError]):
    """Examples by ticket. A fault is an entry like others: of one that is raised in a worker, only a text
    would arrive.
    """

    def __init__(self, examples: Examples, seed: int) -> None:
        self.examples, self.seed = examples, seed

    def __getitem__(self, ticket: Ticket) -> Example | CompileError:
        index, draw = ticket
        try:
            return self.examples.example(index, generator(self.seed, draw))
        except CompileError as fault:
            return fault


@dataclass(frozen=True)
class Together:
    """Makes entries a batch, or the first fault among them."""

    collate: Collate

    def __call__(self, entries: Sequence[Example | CompileError]) -> Example | CompileError:
        """By the data's own `collate`."""
        examples = [entry for entry in entries if not isinstance(entry, CompileError)]
        faults = [entry for entry in entries if isinstance(entry, CompileError)]
        return faults[0] if faults else self.collate(examples)


def _intact(batch: Example | CompileError) -> Example:
    if isinstance(batch, CompileError):
        raise batch
    return batch


class Held(Dataset[Example]):
    """Examples as they are evaluated."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples.example(index, None)


def training_batches(
    data: Data, epochs: Epochs, batch: int, start: int, workers: int, share: Share = ALL
) -> Iterator[Example]:
    """Our share of micro-batches without end. start: how many examples were drawn before, by all together.

    Raises CompileError for an example that cannot be read, when its turn comes.
    """
    loader = DataLoader(
        Drawn(data.train, epochs.seed),
        batch_sampler=Order(epochs, batch, start, share),
        collate_fn=Together(data.collate),
        num_workers=workers,
        worker_init_fn=leave_to_main,
        generator=torch.Generator(),  # or the loader would draw from the generator that dropout uses
    )
    return map(_intact, loader)


def held_out_batches(data: Data, examples: Examples, batches: Sequence[Sequence[int]]) -> Iterator[Example]:
    """Examples as they are evaluated, those of each range as a batch."""
    loader = DataLoader(
        Held(examples),
        batch_sampler=[list(batch) for batch in batches],
        collate_fn=data.collate,
        generator=torch.Generator(),
    )
    return iter(loader)


def in_order(size: int, batch: int) -> list[range]:
    """The numbers of all examples, a batch at a time."""
    return [range(start, min(start + batch, size)) for start in range(0, size, batch)]
