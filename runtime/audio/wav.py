"""WAV files: whole numbers of 8, 16, 24 and 32 bits and floats of 32 and 64, in any number of channels.

Read here, because the standard library's `wave` knows neither floats nor, before Python 3.12, the extensible
form of the header. Format: Microsoft's Multimedia Programming Interface, 1991, and mmreg.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import CompileError, fail
from compiler.source.text import SourceFile, Span, display_name

_WHOLE: Final = 1
_FLOAT: Final = 3
_EXTENSIBLE: Final = 0xFFFE
#: What is read: (format, bits) and the numbers as they stand; three bytes are put together.
_READ: Final[Mapping[tuple[int, int], torch.dtype]] = MappingProxyType(
    {
        (_WHOLE, 8): torch.uint8,
        (_WHOLE, 16): torch.int16,
        (_WHOLE, 24): torch.uint8,
        (_WHOLE, 32): torch.int32,
        (_FLOAT, 32): torch.float32,
        (_FLOAT, 64): torch.float64,
    }
)


@dataclass(frozen=True)
class Sound:
    """samples: float32[channels, N], whole numbers scaled to [-1, 1). rate: samples a second."""

    samples: Tensor
    rate: int

    @property
    def mono(self) -> Tensor:
        """The mean of the channels, float32[N]."""
        return self.samples.mean(0)


def read_wav(path: str | Path) -> Sound:
    """The sound in a file. Raises CompileError for any other file, with the command that converts it."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise fail("not-found", f"there is no sound `{display_name(path)}`", None) from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from None
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _unreadable(path, "not a WAV file")
    chunks = dict(_chunks(data))
    head, body = chunks.get(b"fmt "), chunks.get(b"data")
    if head is None or len(head) < 16 or body is None:
        raise _unreadable(path, "a WAV file without a format or without data")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head)
    if kind == _EXTENSIBLE and len(head) >= 26:
        (kind,) = struct.unpack_from("<H", head, 24)
    flat = _samples(kind, bits, body)
    if flat is None or not channels or not rate:
        raise _unreadable(
            path, f"a WAV file of format {kind} with {bits} bits, {channels} channels at {rate} Hz"
        )
    if not flat.numel() // channels:
        raise _unreadable(path, "a WAV file without a sample")
    return Sound(flat[: flat.numel() // channels * channels].view(-1, channels).T.contiguous(), rate)


def command(path: Path, rate: int) -> str:
    """The shell command that makes a readable file of another."""
    return f"ffmpeg -i {display_name(path)} -ac 1 -ar {rate} -c:a pcm_s16le {path.stem}.{rate}.wav"


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The parts of the file, each behind its name and length; the last one may have been cut short."""
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _samples(kind: int, bits: int, body: bytes) -> Tensor | None:
    """float32[N], channels in turn; None for what is not read."""
    if (kind, bits) not in _READ:
        return None
    data = bytearray(body[: len(body) // (bits // 8) * (bits // 8)])
    if not data:
        return torch.empty(0)
    if bits == 24:
        parts = torch.frombuffer(data, dtype=torch.uint8).view(-1, 3).to(torch.int32)
        return ((parts[:, 2] << 24 | parts[:, 1] << 16 | parts[:, 0] << 8) >> 8).float() / 2**23
    found: Tensor = torch.frombuffer(data, dtype=_READ[kind, bits])
    if kind == _FLOAT:
        return found.float()
    zero = 128 if bits == 8 else 0
    return (found.double() - zero).div(2 ** (bits - 1)).float()


def _unreadable(path: Path, message: str) -> CompileError:
    place = Span(SourceFile(display_name(path), ""), 0, 0, 0, 0)
    return fail("unreadable", message, place, help=f"convert it: `{command(path, 16000)}`")
