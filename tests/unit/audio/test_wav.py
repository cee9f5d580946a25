"""WAV files as they were written."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from compiler.diagnostics.diagnostic import CompileError
from runtime.audio import LogMel, read_wav
from tests.artifacts import need


def riff(
    kind: int, bits: int, body: bytes, *, channels: int = 1, rate: int = 16000, extra: bytes = b""
) -> bytes:
    head = (
        struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
        + extra
    )
    odd = b"odd" + b"\0"
    parts = b"LIST" + struct.pack("<I", 3) + odd + b"fmt " + struct.pack("<I", len(head)) + head
    parts += b"data" + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WAVE" + parts


def read(folder: Path, data: bytes) -> torch.Tensor:
    (folder / "sound.wav").write_bytes(data)
    return read_wav(folder / "sound.wav").samples


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_what_the_standard_library_writes(bits: int, channels: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    whole = random.integers(low, high, (51, channels), endpoint=True)
    whole[0], whole[1] = low, high
    shifted = whole + 128 if bits == 8 else whole
    body = b"".join(int(v).to_bytes(bits // 8, "little", signed=bits > 8) for v in shifted.reshape(-1))
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(bits // 8)
        file.setframerate(22050)
        file.writeframes(body)
    found = read_wav(tmp_path / "sound.wav")
    expected = torch.from_numpy((whole.T / 2 ** (bits - 1)).astype(np.float32))
    assert found.rate == 22050 and torch.equal(found.samples, expected)
    assert torch.equal(found.mono, expected.mean(0))


def test_floats_and_the_extensible_header(tmp_path: Path) -> None:
    values = np.linspace(-1.5, 1.5, 77)
    single = torch.from_numpy(values.astype(np.float32))[None]
    assert torch.equal(read(tmp_path, riff(3, 32, values.astype("<f4").tobytes())), single)
    assert torch.equal(read(tmp_path, riff(3, 64, values.astype("<f8").tobytes())), single)
    extra = struct.pack("<HHIH", 22, 32, 0, 3) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    assert torch.equal(read(tmp_path, riff(0xFFFE, 32, values.astype("<f4").tobytes(), extra=extra)), single)


def test_speech() -> None:
    with wave.open(str(need("speech"))) as file:
        expected = np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(2**15)
    assert torch.equal(read_wav(need("speech")).mono, torch.from_numpy(expected))


def test_a_file_that_was_cut_short_gives_what_it_holds(tmp_path: Path) -> None:
    whole = riff(1, 16, np.arange(100, dtype="<i2").tobytes())
    assert read(tmp_path, whole[:-51]).shape == (1, 74)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ID3 not a wav",
        b"RIFF\0\0\0\0WAVE",
        riff(1, 16, b""),
        riff(1, 12, b"abc"),
        riff(2, 4, b"abcd"),
        riff(1, 16, b"abcd", channels=0),
        riff(1, 16, b"abcd", rate=0),
        riff(1, 16, b"ab", channels=2),
    ],
)
def test_other_files_are_told_how_to_be_converted(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        read(tmp_path, data)
    assert "sound.wav" in str(caught.value) and "ffmpeg -i" in str(caught.value)


def test_another_rate_is_told_how_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "sound.wav").write_bytes(riff(1, 16, b"abcd", rate=44100))
    with pytest.raises(CompileError, match="has 44100 samples a second, the model hears 16000") as caught:
        LogMel(16000, 80, 400, 160, 480000)(tmp_path / "sound.wav")
    assert "-ac 1 -ar 16000" in str(caught.value)
    with pytest.raises(CompileError, match="there is no sound"):
        read_wav(tmp_path / "none.wav")
