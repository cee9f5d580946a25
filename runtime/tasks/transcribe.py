"""transcribe: speech as text, by an encoder that hears and a decoder that writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.diagnostics.suggest import did_you_mean
from runtime.audio import LogMel
from runtime.tasks.abilities import require
from runtime.tasks.generate import Choice, Prompt, io_ids, written
from runtime.tasks.opened import Opened

#: The token that says that no times are to be written, and the file that lists languages and tasks.
UNTIMED: Final = "<|notimestamps|>"
GENERATION_FILE: Final = "generation_config.json"
DEFAULT: Final = Choice(max_new_tokens=224)
#: A sound that is longer than the model hears is cut at the quietest moment of that many seconds before.
SEARCHED: Final = 5.0
MOMENT: Final = 0.1
BATCH: Final = 8


@dataclass(frozen=True)
class Piece:
    """What was said between two moments, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """A sound as text, whole and piece by piece. language: as the model names it, where it knows several."""

    text: str
    pieces: tuple[Piece, ...]
    language: str | None = None


def transcribe(
    opened: Opened,
    sound: str | Path | Tensor,
    *,
    language: str | None = None,
    english: bool = False,
    choice: Choice = DEFAULT,
) -> Transcript:
    """What is said in a WAV file, or in samples float[S] at the model's rate.

    language: `en`, `hi`, ...; left out, a model of several languages guesses it from the beginning.
    english: written in English, whatever is spoken. Raises CompileError for a model of another kind, and for
    a language that it does not know.
    """
    require(opened.signature, "transcribe")
    samples = opened.sound.samples(sound)
    spans = list(_spans(samples, opened.sound))
    features = torch.cat([opened.sound(samples[start:end]) for start, end in spans])
    begin, spoken = _begin(opened, features[:1], language, english)
    texts: list[str] = []
    for chunk in torch.split(features, BATCH):
        prompt = Prompt(torch.tensor([begin] * len(chunk)), source=chunk)
        texts += [one.text or "" for one in written(opened, prompt, [""] * len(chunk), choice)]
    rate = opened.sound.rate
    pieces = [
        Piece(start / rate, end / rate, text.strip()) for (start, end), text in zip(spans, texts, strict=True)
    ]
    return Transcript(" ".join(piece.text for piece in pieces if piece.text), tuple(pieces), spoken)


def _spans(samples: Tensor, heard: LogMel) -> Iterator[tuple[int, int]]:
    """Where the pieces of a sound begin and end: no longer than the model hears, cut where it is quiet."""
    start, moment = 0, round(MOMENT * heard.rate)
    while len(samples) - start > heard.length:
        end = start + heard.length
        last = samples[end - round(SEARCHED * heard.rate) : end]
        loudness = last.unfold(0, moment, moment // 2).square().mean(1)
        cut = end - len(last) + int(loudness.argmin()) * (moment // 2) + moment // 2
        yield start, cut
        start = cut
    yield start, len(samples)


def _begin(
    opened: Opened, features: Tensor, language: str | None, english: bool
) -> tuple[list[int], str | None]:
    """The ids that the decoder begins with, and the language: start, then language and task if there are
    several, then that no times are written.
    """
    said: Mapping[str, Any] = opened.beside(GENERATION_FILE)
    languages: dict[str, int] = {name.strip("<|>"): id for name, id in (said.get("lang_to_id") or {}).items()}
    ids = list(io_ids(opened, "start"))
    if not languages and (language not in (None, "en") or english):
        raise fail("usage", f"`{opened.signature.name}` writes down one language, the one it hears", None)
    if languages:
        if language is None:
            language = _guess(opened, features, ids, languages)
        if language not in languages:
            help = did_you_mean(language, languages)
            raise fail("usage", f"the model knows no language {language!r}", None, help=help)
        task = (said.get("task_to_id") or {}).get("translate" if english else "transcribe")
        ids += [languages[language], *([task] if task is not None else [])]
    untimed = said.get("no_timestamps_token_id", opened.tokenizer.id(UNTIMED))
    if isinstance(untimed, int) and untimed not in ids:
        ids.append(untimed)
    return ids, language if languages else None


def _guess(opened: Opened, features: Tensor, start: list[int], languages: Mapping[str, int]) -> str:
    """The likeliest language of one piece."""
    memory = opened.call({"source": features}, "encode")["memory"]
    logits = opened.call({"memory": memory, "target": torch.tensor([start])}, "decode")["logits"][0, -1]
    return max(languages, key=lambda name: float(logits[languages[name]]))
