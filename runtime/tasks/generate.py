"""generate: texts continued by a decoder, or rewritten by an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch

import runtime
from compiler.diagnostics.diagnostic import fail
from runtime.tasks.abilities import continues_text, require
from runtime.tasks.opened import Opened


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen and when to stop; each as `runtime.generate` takes it."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    num_beams: int = 1
    seed: int | None = None


DEFAULT: Final = Choice()


@dataclass(frozen=True)
class Written:
    """What a model wrote. tokens: its ids, the end included. text: None where the prompt was ids."""

    tokens: tuple[int, ...]
    text: str | None
    prompt: str | None = None


@dataclass(frozen=True)
class Prompt:
    """What a model goes on from: `tokens` int[B, T] with `mask` for a decoder, `source` for an encoder."""

    tokens: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    source: torch.Tensor | None = None
    source_mask: torch.Tensor | None = None


def generate_texts(opened: Opened, prompts: Sequence[str], choice: Choice = DEFAULT) -> list[Written]:
    """What a model writes after each prompt, or in answer to each; the prompts are one batch.

    Raises CompileError for a model of another kind, without a tokenizer, or with a context that is too short.
    """
    require(opened.signature, "generate")
    rows = new_tokens(opened, prompt_of(opened, prompts), choice)
    return [Written(row, opened.tokenizer.decode(row), text) for row, text in zip(rows, prompts, strict=True)]


def generate_tokens(
    opened: Opened, prompts: Sequence[Sequence[int]], choice: Choice = DEFAULT
) -> list[Written]:
    """The same for prompts that are ids already; no tokenizer is needed."""
    require(opened.signature, "generate")
    return [Written(row, None) for row in new_tokens(opened, prompt_of_ids(opened, prompts), choice)]


def stream_text(opened: Opened, prompt: str, choice: Choice = DEFAULT) -> Iterator[str]:
    """What a model writes after one prompt, in pieces as they come; together they are the text."""
    require(opened.signature, "generate")
    return pieces(opened, prompt_of(opened, [prompt]), choice)


def prompt_of(opened: Opened, texts: Sequence[str], *, special: bool = True) -> Prompt:
    """Texts as what the model goes on from. special: with the tokens that begin and end a text."""
    decoder = continues_text(opened.signature)
    encoded = opened.tokenizer.encode(texts, special=special, side="left" if decoder else "right")
    if not encoded.mask.any(1).all():
        raise fail("usage", "a prompt is empty", None, help="write at least a word")
    if decoder:
        return Prompt(tokens=encoded.tokens, mask=encoded.mask)
    return Prompt(source=encoded.tokens, source_mask=encoded.mask)


def prompt_of_ids(opened: Opened, rows: Sequence[Sequence[int]]) -> Prompt:
    """Ids as what the model goes on from; rows of unequal length are padded."""
    longest = max(map(len, rows))
    decoder = continues_text(opened.signature)
    tokens, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest)
    for i, row in enumerate(rows):
        at = slice(longest - len(row), longest) if decoder else slice(0, len(row))
        tokens[i, at], mask[i, at] = torch.tensor(row), 1
    if decoder:
        return Prompt(tokens=tokens, mask=mask.bool())
    return Prompt(source=tokens, source_mask=mask.bool())


def new_tokens(opened: Opened, prompt: Prompt, choice: Choice) -> list[tuple[int, ...]]:
    """The ids that a model adds to each row, up to the one that ends it."""
    found = runtime.generate(opened.model, **vars(prompt), eos=ends(opened), **vars(choice))
    start = 0 if prompt.tokens is None else prompt.tokens.shape[1]
    return [_ended(row, ends(opened)) for row in found[:, start:].tolist()]


def pieces(opened: Opened, prompt: Prompt, choice: Choice) -> Iterator[str]:
    """The text that a model adds to a single row, as it comes."""
    from tokenizers.decoders import DecodeStream

    decoded = DecodeStream(skip_special_tokens=True)
    arguments = {**vars(choice)}
    arguments.pop("num_beams")
    for token in runtime.stream(opened.model, **vars(prompt), eos=ends(opened), **arguments):
        piece = decoded.step(opened.tokenizer.backend, int(token[0]))
        if piece:
            yield piece


def ends(opened: Opened) -> tuple[int, ...]:
    """The ids that end a text: the spec's, and the tokenizer's, which a chat may end with."""
    said = opened.signature.io.get("eos")
    ids = said if isinstance(said, tuple) else (said,)
    return tuple(dict.fromkeys(id for id in ids if isinstance(id, int)))


def _ended(row: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """A row up to the first id that ends it, that one included."""
    at = next((i for i, id in enumerate(row) if id in ends), len(row))
    return tuple(row[: at + 1])
