"""Worlds of processes for tests: as torchrun makes them, but the processes are started and import once."""

from __future__ import annotations

import io
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from multiprocessing.pool import Pool
from typing import Any

_PRELOADED = ["runtime.training.run", "runtime.parallel.torchrun", "runtime.parallel.shards", __name__]


class Worlds:
    """Worlds of any size one after the other, in processes that are started once."""

    def __init__(self, processes: list[Pool]) -> None:
        self._processes = processes

    def run(self, size: int, act: Callable[..., Any], *given: Any) -> list[Any]:
        """What `act(*given)` gives in each process of a world."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ranks = enumerate(self._processes[:size])
        found = [one.apply_async(_as_rank, (rank, size, port, act, given)) for rank, one in ranks]
        return [each.get(timeout=300) for each in found]


@contextmanager
def worlds(size: int) -> Iterator[Worlds]:
    """Worlds of up to `size` processes, which end with it whatever they do then."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with ExitStack() as stack:
        yield Worlds([stack.enter_context(context.Pool(1)) for _ in range(size)])


def _as_rank(rank: int, size: int, port: int, act: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    names = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=size, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    os.environ.update({name: str(value) for name, value in names.items()})
    return act(*given)


def printed(act: Callable[..., Any], *given: Any) -> tuple[Any, str, str]:
    """What a call gives, and what it prints on both streams."""
    out, error = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(error):
        found = act(*given)
    return found, out.getvalue(), error.getvalue()
