"""SIGTERM and Ctrl-C end a run between two steps or held-out batches, with its state saved; a second one ends
it at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Final

_ASKING: Final = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """A run ends on request, its state saved. code: what a shell reports for the signal."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}")
        self.code = 128 + number


class Stop:
    """While it is entered, the first signal is kept in `asked`."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _ASKING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}


def leave_to_main(worker: int) -> None:
    """In a process that only reads data: what asks a whole group to end is for the main process to act on.

    It ends its workers itself; one that died first would be a fault to torch, and the state lost.
    """
    for number in _ASKING:
        signal.signal(number, signal.SIG_IGN)
