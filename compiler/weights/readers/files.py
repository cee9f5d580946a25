"""Opening and reading a checkpoint file, and the faults it can have."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from compiler.diagnostics.diagnostic import CompileError, Diagnostics, fail
from compiler.source.text import SourceFile, Span, display_name

MAX_FAULTS: Final = 20  # a hostile file can hold a million; a report shows no more than these

#: Opening a FIFO must not wait for a writer. Both flags are absent on some systems.
_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
)


def place(path: Path) -> Span:
    """The file as a whole."""
    try:
        name = display_name(path)
    except (OSError, RuntimeError):  # a link in a circle has no other name
        name = str(path)
    return Span(SourceFile(name, "", path), 0, 0, 0, 0)


def shown(name: object) -> str:
    """A name out of a file, short enough for a message."""
    text = str(name)
    return text if len(text) <= 80 else text[:77] + "..."


def damaged(path: Path, reason: str, *, help: str = "") -> CompileError:
    """The file is not what it should be."""
    return fail("checkpoint-format", f"{path.name}: {reason}", place(path), help=help)


@dataclass
class TensorFaults:
    """Collects what is wrong with the tensors of one file, up to MAX_FAULTS."""

    path: Path
    found: Diagnostics = field(default_factory=Diagnostics)

    def add(self, tensor: object, reason: str) -> None:
        """Note why a tensor is refused."""
        message = f"{self.path.name}: tensor `{shown(tensor)}`: {reason}"
        self.found.error("checkpoint-format", message, place(self.path))
        if len(self.found.items) >= MAX_FAULTS:
            self.found.check()

    def check(self) -> None:
        """Raise what was noted."""
        self.found.check()


class CheckpointFile:
    """A regular file open for reading; every read is checked against its size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            raise fail("not-found", f"{path.name}: no such file", place(path)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise fail("unreadable", f"{shown(path.name)}: {reason}", place(path)) from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise fail("unreadable", f"{path.name}: not a regular file", place(path))
        self.size = status.st_size
        self._file = os.fdopen(descriptor, "rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, offset: int, size: int, what: str) -> bytes:
        """`size` bytes at `offset`; `what` they are, for the message when the file ends before them."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self.truncated(what, offset + size)
        try:
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as error:
            raise fail("unreadable", f"{self.path.name}: {error.strerror}", place(self.path)) from None
        if len(data) != size:
            raise self.truncated(what, offset + size)
        return data

    def truncated(self, what: str, end: int) -> CompileError:
        """The fault of a file that ends early."""
        return damaged(
            self.path,
            f"truncated: {what} should end at byte {end}, but the file has {self.size} bytes",
            help="fetch the file again",
        )
