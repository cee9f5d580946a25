"""The order of examples: a permutation for each epoch, those of like length together."""

from __future__ import annotations

import random
from itertools import chain, pairwise

from runtime.training.batches import Order
from runtime.training.order import GROUP, Epochs

SIZE, BATCH = 1003, 4  # the last batch of an epoch reaches into the next


def drawn(epochs: Epochs, batch: int, start: int, count: int) -> list[list[int]]:
    batches = iter(Order(epochs, batch, start))
    return [[index for index, _ in next(batches)] for _ in range(count)]


def some_lengths() -> list[int]:
    return [random.Random(i).randint(1, 60) for i in range(SIZE)]


def test_every_epoch_holds_each_example_once() -> None:
    for lengths in (None, some_lengths()):
        flat = list(chain(*drawn(Epochs(SIZE, 3, BATCH, lengths), BATCH, 0, SIZE)))
        epochs = [flat[SIZE * e : SIZE * (e + 1)] for e in range(BATCH)]
        assert all(sorted(epoch) == list(range(SIZE)) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == BATCH


def test_like_lengths_come_together() -> None:
    lengths = some_lengths()

    def padding(of: list[list[int]]) -> float:
        return sum(max(lengths[i] for i in b) - lengths[i] for b in of for i in b) / (BATCH * len(of))

    loose = padding(drawn(Epochs(SIZE, 3, BATCH), BATCH, 0, SIZE))
    close = padding(drawn(Epochs(SIZE, 3, BATCH, lengths), BATCH, 0, SIZE))
    assert close < loose / 5


def test_length_does_not_order_the_batches() -> None:
    lengths = some_lengths()
    means = [sum(lengths[i] for i in b) for b in drawn(Epochs(SIZE, 3, BATCH, lengths), BATCH, 0, GROUP)]
    rising = sum(a < b for a, b in pairwise(means))
    assert GROUP / 4 < rising < GROUP * 3 / 4


def test_it_goes_on_from_anywhere_and_parts_are_parts_of_the_same_batches() -> None:
    epochs = Epochs(SIZE, 3, BATCH, some_lengths())
    whole = drawn(epochs, BATCH, 0, 600)
    assert drawn(epochs, BATCH, 251 * BATCH, 300) == whole[251:551]
    assert list(chain(*drawn(epochs, BATCH // 2, 0, 1200))) == list(chain(*whole))
