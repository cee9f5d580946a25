"""Sound as models hear it: wav files, and log-mel frames."""

from __future__ import annotations

from runtime.audio.declared import audio_transform
from runtime.audio.log_mel import LogMel
from runtime.audio.wav import Sound, read_wav

__all__ = ["LogMel", "Sound", "audio_transform", "read_wav"]
