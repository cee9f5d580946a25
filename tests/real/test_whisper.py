"""Whisper tiny.en, converted from CTranslate2's file by the example, hears and writes down a sentence."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import GenerationMixin, WhisperFeatureExtractor, WhisperForConditionalGeneration

import runtime
from compiler.diagnostics.diagnostic import CompileError
from runtime.audio import read_wav
from runtime.tasks.opened import open_model
from runtime.tasks.transcribe import transcribe
from tests.artifacts import need

CONVERTER = Path(__file__).parents[2] / "examples" / "ct2_whisper_to_hf.py"
SENTENCE = "Ever tried, ever failed. No matter, try again. Fail again. Fail better."
PROMPT = ("<|startoftranscript|>", "<|notimestamps|>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example writes."""
    out = tmp_path_factory.mktemp("whisper") / "hf"
    subprocess.run([sys.executable, CONVERTER, need("whisper").parent, out], check=True)
    return out


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return runtime.load(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    """The log-mel frames of the recording, as transformers computes them: float[1, 80, 3000]."""
    with wave.open(str(need("speech"))) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 2**15
        rate = file.getframerate()
    return WhisperFeatureExtractor()(sound, sampling_rate=rate, return_tensors="pt").input_features


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def written(tokenizer: Tokenizer) -> torch.Tensor:
    """The whole answer as tokens, the two of the prompt in front."""
    prompt = [tokenizer.token_to_id(name) for name in PROMPT]
    return torch.tensor([prompt + tokenizer.encode(" " + SENTENCE, add_special_tokens=False).ids])


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    """transformers' reading of the same folder."""
    reference, found = WhisperForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(found.values()), found
    return reference.eval()


def test_equal_to_transformers(
    model: Any, reference: Any, features: torch.Tensor, tokenizer: Tokenizer
) -> None:
    target = written(tokenizer)
    with torch.no_grad():
        theirs = reference(input_features=features, decoder_input_ids=target)
        assert difference(model.encode(features), theirs.encoder_last_hidden_state) <= 1e-4
        assert difference(model(features, target=target), theirs.logits) <= 1e-4
        weight = model.get_parameter("decoder.3.cross.v.weight")  # the control: one weight, moved
        before = weight[0, 0].clone()
        weight[0, 0] += 1e-1
        assert difference(model(features, target=target), theirs.logits) > 1e-4
        weight[0, 0] = before


def test_it_writes_down_the_sentence(model: Any, features: torch.Tensor, tokenizer: Tokenizer) -> None:
    """The most likely token at each step, the keys and values of earlier ones kept."""
    end = tokenizer.token_to_id("<|endoftext|>")
    given = torch.tensor([[tokenizer.token_to_id(name) for name in PROMPT]])
    heard: list[int] = []
    with torch.no_grad():
        memory, cache = model.encode(features), model.new_cache(1, 64)
        while len(heard) < 60:
            best = int(model.decode(memory, target=given, cache=cache, last=True)[0, -1].argmax())
            if best == end:
                break
            heard.append(best)
            given = torch.tensor([[best]])
    assert tokenizer.decode(heard).strip() == SENTENCE
    assert cache["past"] == len(PROMPT) + len(heard)


@pytest.mark.parametrize("beams", [1, 4])
def test_generates_as_transformers_does(
    model: Any, reference: Any, features: torch.Tensor, tokenizer: Tokenizer, beams: int
) -> None:
    """Two recordings at once, of which one is silence; the folder says where an answer ends."""
    prompt = torch.tensor([[tokenizer.token_to_id(name) for name in PROMPT]]).expand(2, -1)
    sounds = torch.cat((features, torch.full_like(features, float(features.min()))))
    ours = runtime.generate(model, prompt, source=sounds, max_new_tokens=60, num_beams=beams)
    theirs = GenerationMixin.generate(
        reference,
        input_features=sounds,
        decoder_input_ids=prompt,
        max_new_tokens=60,
        num_beams=beams,
        do_sample=False,
    )
    assert torch.equal(ours, theirs)
    assert tokenizer.decode(ours[0].tolist()).lower().count("ever") == 2


def test_transcribe_writes_what_transformers_does(reference: Any, model: Any, features: torch.Tensor) -> None:
    theirs = reference.generate(features, max_new_tokens=60, num_beams=1, do_sample=False)
    opened = open_model(model)
    found = transcribe(opened, need("speech"))
    assert found.text == SENTENCE and found.language is None
    assert opened.tokenizer.decode(theirs[0]).strip() == SENTENCE
    with pytest.raises(CompileError, match="one language"):
        transcribe(opened, need("speech"), language="de")


def test_a_long_recording_is_cut_where_it_is_quiet(model: Any) -> None:
    """The second sentence begins 27 seconds on: half a second of it would be in the first piece."""
    sound = read_wav(need("speech")).mono
    start = 27 * 16000
    both = torch.cat([sound, torch.zeros(start - len(sound)), sound])
    found = transcribe(open_model(model), both)
    first, second = found.pieces
    assert (first.text, second.text) == (SENTENCE, SENTENCE) and found.text == f"{SENTENCE} {SENTENCE}"
    assert first.start == 0 and 25 <= first.end == second.start <= 27 and second.end == len(both) / 16000
