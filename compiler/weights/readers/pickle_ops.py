"""The opcodes of a pickle that a checkpoint needs, decoded to data. All others are refused unread.

What is left out matters: nothing here can name code except GLOBAL and STACK_GLOBAL, whose names are looked
up in a closed table (`pickle_globals`) and never imported. Opcode table: CPython's Lib/pickletools.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

MAX_OPERATIONS: Final = 5_000_000


class PickleFault(Exception):
    """Why the stream is refused, and the byte at which it was noticed."""

    def __init__(self, reason: str, offset: int = -1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class _Stream:
    """The bytes of a pickle and a position in them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise PickleFault(f"it ends within an argument of {size} bytes", self.at)
        self.at += size
        return self.data[self.at - size : self.at]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0 or end - self.at > 1024:
            raise PickleFault("a name without an end", self.at)
        text = self.text(end - self.at)
        self.at += 1
        return text

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise PickleFault("a string that is not UTF-8", self.at) from None

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little", signed=True)

    def number(self) -> float:
        (value,) = struct.unpack(">d", self.take(8))
        return float(value)

    def pair(self) -> tuple[str, str]:
        return self.line(), self.line()


def _short_long(stream: _Stream) -> int:
    size = stream.unsigned(1)
    if size > 9:  # an unsigned 64-bit number with its sign byte
        raise PickleFault("a number beyond 64 bits", stream.at)
    return stream.signed(size)


#: opcode byte -> (name, how its argument is read)
_OPCODES: Final[Mapping[int, tuple[str, Callable[[_Stream], Any] | None]]] = MappingProxyType(
    {
        0x80: ("PROTO", lambda s: s.unsigned(1)),
        0x95: ("FRAME", lambda s: s.unsigned(8)),
        ord("."): ("STOP", None),
        ord("("): ("MARK", None),
        ord("0"): ("POP", None),
        ord("1"): ("POP_MARK", None),
        ord("N"): ("NONE", None),
        0x88: ("NEWTRUE", None),
        0x89: ("NEWFALSE", None),
        ord("K"): ("INT", lambda s: s.unsigned(1)),
        ord("M"): ("INT", lambda s: s.unsigned(2)),
        ord("J"): ("INT", lambda s: s.signed(4)),
        0x8A: ("INT", _short_long),
        ord("G"): ("FLOAT", _Stream.number),
        ord("X"): ("TEXT", lambda s: s.text(s.unsigned(4))),
        0x8C: ("TEXT", lambda s: s.text(s.unsigned(1))),
        0x8D: ("TEXT", lambda s: s.text(s.unsigned(8))),
        ord("}"): ("EMPTY_DICT", None),
        ord("]"): ("EMPTY_LIST", None),
        ord(")"): ("EMPTY_TUPLE", None),
        ord("t"): ("TUPLE", None),
        0x85: ("TUPLE_OF", lambda s: 1),
        0x86: ("TUPLE_OF", lambda s: 2),
        0x87: ("TUPLE_OF", lambda s: 3),
        ord("a"): ("APPEND", None),
        ord("e"): ("APPENDS", None),
        ord("s"): ("SETITEM", None),
        ord("u"): ("SETITEMS", None),
        ord("q"): ("PUT", lambda s: s.unsigned(1)),
        ord("r"): ("PUT", lambda s: s.unsigned(4)),
        0x94: ("MEMOIZE", None),
        ord("h"): ("GET", lambda s: s.unsigned(1)),
        ord("j"): ("GET", lambda s: s.unsigned(4)),
        ord("c"): ("GLOBAL", _Stream.pair),
        0x93: ("STACK_GLOBAL", None),
        ord("Q"): ("BINPERSID", None),
        ord("R"): ("REDUCE", None),
        0x81: ("NEWOBJ", None),
        ord("b"): ("BUILD", None),
    }
)


def operations(data: bytes) -> Iterator[tuple[str, Any, int]]:
    """(name, argument, offset) of each operation up to STOP. Raises PickleFault."""
    stream = _Stream(data)
    for _ in range(MAX_OPERATIONS):
        if stream.at >= len(data):
            raise PickleFault("it has no end", len(data))
        offset = stream.at
        stream.at += 1
        found = _OPCODES.get(data[offset])
        if found is None:
            raise PickleFault(f"opcode 0x{data[offset]:02x} is not part of any checkpoint", offset)
        name, read = found
        if name == "STOP" and stream.at != len(data):
            raise PickleFault(f"{len(data) - stream.at} bytes follow its end", stream.at)
        yield name, read(stream) if read is not None else None, offset
        if name == "STOP":
            return
    raise PickleFault(f"more than {MAX_OPERATIONS} operations", stream.at)
