"""Log-mel frames: how loud each band of the mel scale is, every hundredth of a second.

Radford et al. 2022, section 2.2; the scale and its triangles are those of Slaney's Auditory Toolbox (1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from runtime.audio.wav import command, read_wav

#: The scale is linear up to here, in steps of 200/3 Hz, then logarithmic: 27 steps for a factor of 6.4.
_BREAK: Final = 1000.0
_LINEAR: Final = 200.0 / 3
_STEP: Final = torch.log(torch.tensor(6.4, dtype=torch.float64)) / 27
#: Quieter than this is silence; quieter than the loudest by 8 powers of ten is as quiet as that.
_FLOOR: Final = 1e-10
_RANGE: Final = 8.0


@dataclass(frozen=True)
class LogMel:
    """rate: samples a second. mels: bands. window: samples of a Fourier transform, one every `hop`.
    length: samples of a piece.
    """

    rate: int
    mels: int
    window: int
    hop: int
    length: int

    def __call__(self, sound: str | Path | Tensor) -> Tensor:
        """float32[N, mels, length / hop] of a sound in N pieces, the last filled up with silence.

        sound: a WAV file, its channels averaged, or samples float[S] at this rate. A long sound is cut every
        `length` samples, wherever that falls; each piece is scaled by its own loudest frame.
        Raises CompileError for a file of another rate, with the command that converts it.
        """
        samples = self.samples(sound)
        count = -(-samples.numel() // self.length)
        pieces = torch.nn.functional.pad(samples.float(), (0, count * self.length - samples.numel()))
        return self._frames(pieces.view(count, self.length))

    def samples(self, sound: str | Path | Tensor) -> Tensor:
        """float[S] of a WAV file or of samples, which are checked. Raises CompileError as a call does."""
        samples = sound if isinstance(sound, Tensor) else self._read(Path(sound))
        if samples.ndim != 1 or not samples.is_floating_point() or not samples.numel():
            found = f"{str(samples.dtype).removeprefix('torch.')}{list(samples.shape)}"
            raise fail("usage", f"a sound is float[samples], not {found}", None)
        return samples

    def _read(self, path: Path) -> Tensor:
        sound = read_wav(path)
        if sound.rate != self.rate:
            message = f"{path.name} has {sound.rate} samples a second, the model hears {self.rate}"
            raise fail("usage", message, None, help=f"convert it: `{command(path, self.rate)}`")
        return sound.mono

    def _frames(self, pieces: Tensor) -> Tensor:
        window = torch.hann_window(self.window, device=pieces.device)
        waves = torch.stft(pieces, self.window, self.hop, window=window, return_complex=True)
        power = waves[..., :-1].abs() ** 2
        bands = mel_bands(self.mels, self.window // 2 + 1, self.rate).to(pieces.device)
        loud = (bands @ power).clamp(min=_FLOOR).log10()
        return (torch.maximum(loud, loud.amax((1, 2), keepdim=True) - _RANGE) + 4) / 4


@cache
def mel_bands(mels: int, bins: int, rate: int) -> Tensor:
    """float32[mels, bins]: triangles over the frequencies up to rate / 2, each of area 1 (in Hz, doubled)."""
    top = _mel(torch.tensor(rate / 2, dtype=torch.float64))
    edges = _hertz(torch.linspace(0, float(top), mels + 2, dtype=torch.float64))
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    at = torch.linspace(0, rate // 2, bins, dtype=torch.float64)
    rising, falling = (at - low) / (middle - low), (high - at) / (high - middle)
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (high - low)).float()


def _mel(hertz: Tensor) -> Tensor:
    above = _BREAK / _LINEAR + torch.log(hertz.clamp(min=_BREAK) / _BREAK) / _STEP
    return torch.where(hertz < _BREAK, hertz / _LINEAR, above)


def _hertz(mel: Tensor) -> Tensor:
    above = _BREAK * torch.exp(_STEP * (mel - _BREAK / _LINEAR))
    return torch.where(mel < _BREAK / _LINEAR, mel * _LINEAR, above)
