"""Frames are those of transformers' WhisperFeatureExtractor, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import WhisperFeatureExtractor

import runtime
from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.config_source import read_json
from runtime.audio import LogMel, audio_transform, read_wav
from runtime.audio.declared import NAME, from_config
from runtime.audio.log_mel import mel_bands
from tests.artifacts import need


def transform(spec: str) -> LogMel:
    return audio_transform(runtime.load(spec, weights=None, device="meta"))


def theirs(sound: torch.Tensor, mels: int, **settings: Any) -> torch.Tensor:
    extractor = WhisperFeatureExtractor(feature_size=mels, **settings)
    return extractor(sound.numpy(), sampling_rate=16000, return_tensors="pt").input_features


@pytest.mark.parametrize(("spec", "mels"), [("whisper:tiny.en", 80), ("whisper:large-v3", 128)])
def test_speech(spec: str, mels: int) -> None:
    path = need("speech")
    ours = transform(spec)(path)
    assert ours.shape == (1, mels, 3000)
    assert torch.equal(ours, theirs(read_wav(path).mono, mels))


@pytest.mark.parametrize("seconds", [0.001, 1.3, 30.0])
def test_sounds(seconds: float) -> None:
    """Tones, noise and silence; the longest fills the piece."""
    torch.manual_seed(0)
    time = torch.arange(int(seconds * 16000)) / 16000
    sound = torch.sin(2 * torch.pi * 440 * time**2) * 0.5 + torch.randn_like(time) * 0.01
    sound[: len(sound) // 3] = 0
    ours = transform("whisper:tiny.en")(sound)
    assert torch.equal(ours, theirs(sound, 80))


def test_a_long_sound_comes_in_pieces() -> None:
    torch.manual_seed(0)
    sound = torch.randn(480000 * 2 + 777) * 0.1
    ours = transform("whisper:tiny.en")(sound)
    assert ours.shape == (3, 80, 3000)
    for row, piece in zip(ours, torch.split(sound, 480000), strict=True):
        assert torch.equal(row, theirs(piece, 80)[0])


@pytest.mark.parametrize("mels", [80, 128])
def test_bands(mels: int) -> None:
    expected = torch.from_numpy(WhisperFeatureExtractor(feature_size=mels).mel_filters).T
    assert torch.equal(mel_bands(mels, 201, 16000), expected.float())


def test_other_rates_and_windows(tmp_path: Path) -> None:
    """What a folder says instead; what it must not say."""
    settings = {
        "feature_size": 40,
        "sampling_rate": 16000,
        "hop_length": 100,
        "n_fft": 256,
        "chunk_length": 5,
    }
    extractor = WhisperFeatureExtractor(**settings)
    extractor.save_pretrained(tmp_path)
    ours = from_config(read_json(tmp_path / NAME), transform("whisper:tiny.en"))
    assert ours == LogMel(16000, 40, 256, 100, 80000)
    sound = torch.sin(torch.arange(9000) / 9)
    expected = extractor(sound.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    assert torch.equal(ours(sound), expected)
    (tmp_path / NAME).write_text(json.dumps({"dither": 0.1, "n_fft": 0, "do_normalize": True}))
    with pytest.raises(CompileError) as caught:
        from_config(read_json(tmp_path / NAME), ours)
    assert [d.code for d in caught.value.diagnostics] == ["config-value"] * 3


def test_what_is_no_sound_is_said(tmp_path: Path) -> None:
    hears = transform("whisper:tiny.en")
    for sound in (torch.zeros(2, 40), torch.zeros(40, dtype=torch.int16), torch.zeros(0)):
        with pytest.raises(CompileError, match=r"a sound is float\[samples\]"):
            hears(sound)
    with pytest.raises(CompileError, match="does not say how sound becomes frames"):
        audio_transform("starter_patchify")
    (tmp_path / "deaf.yaml").write_text(
        "spec: deaf\nextends: starter_patchify\nsummary: x\nio: {audio: {rate: 8000, hop: null}}\n"
    )
    with pytest.raises(CompileError, match="becomes frames: mels, window, hop, length"):
        audio_transform(tmp_path / "deaf.yaml")
