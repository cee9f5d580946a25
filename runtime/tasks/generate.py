"""generate: texts continued by a decoder, or rewritten by an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch

import runtime
from compiler.diagnostics.diagnostic import fail
from runtime.tasks.abilities import continues_text, require
from runtime.tasks.opened import Opened
from runtime.tasks.texts import check_vocabulary
from runtime.text.streaming import TextStream


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
    return written(opened, prompt_of(opened, prompts), prompts, choice)


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


def written(opened: Opened, prompt: Prompt, texts: Sequence[str], choice: Choice) -> list[Written]:
    """What a model adds to each row of a prompt. texts: what the rows are made of."""
    rows = new_tokens(opened, prompt, choice, ends(opened))
    return [
        Written(row, "".join(_text(opened, prompt, i, row)), text)
        for i, (row, text) in enumerate(zip(rows, texts, strict=True))
    ]


def prompt_of(opened: Opened, texts: Sequence[str], *, special: bool = True) -> Prompt:
    """Texts as what the model goes on from. special: with the tokens that begin and end a text."""
    decoder = continues_text(opened.signature)
    encoded = opened.tokenizer.encode(texts, special=special, side="left" if decoder else "right")
    check_vocabulary(opened, "tokens" if decoder else "source", encoded.tokens)
    if not encoded.mask.any(1).all():
        raise fail("usage", "a prompt is empty", None, help="write at least a word")
    if decoder:
        return Prompt(tokens=encoded.tokens, mask=encoded.mask)
    return Prompt(started(opened, len(texts)), source=encoded.tokens, source_mask=encoded.mask)


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
    return Prompt(started(opened, len(rows)), source=tokens, source_mask=mask.bool())


def started(opened: Opened, rows: int) -> torch.Tensor | None:
    """The ids that a decoder begins with, int[rows, N]; None where the spec names none."""
    ids = io_ids(opened, "start")
    return torch.tensor([ids] * rows) if ids else None


def new_tokens(
    opened: Opened, prompt: Prompt, choice: Choice, ends: tuple[int, ...] | None = None
) -> list[tuple[int, ...]]:
    """The ids that a model adds to each row, up to the one that ends it. ends: left out, the spec's."""
    ends = own_ends(opened) if ends is None else ends
    found = runtime.generate(opened.model, **vars(prompt), eos=ends, **vars(choice))
    start = 0 if prompt.tokens is None else prompt.tokens.shape[1]
    rows = found[:, start:].tolist()
    return [tuple(row[: next((i + 1 for i, id in enumerate(row) if id in ends), None)]) for row in rows]


def pieces(opened: Opened, prompt: Prompt, choice: Choice) -> Iterator[str]:
    """The text that a model adds to a single row, as it comes."""
    chosen = {name: value for name, value in vars(choice).items() if name != "num_beams"}
    steps = runtime.stream(opened.model, **vars(prompt), eos=ends(opened), **chosen)
    return _text(opened, prompt, 0, (int(step[0]) for step in steps))


def ends(opened: Opened) -> tuple[int, ...]:
    """The ids that end a text: the model's, and the tokenizer's, with which the turn of a chat may end."""
    own, more = own_ends(opened), opened.tokenizer.eos
    return own if more is None or more in own else (*own, more)


def own_ends(opened: Opened) -> tuple[int, ...]:
    """The ids that the spec or the folder's config says end a text."""
    return io_ids(opened, "eos")


def io_ids(opened: Opened, key: str) -> tuple[int, ...]:
    """The ids of one or several tokens in the spec's `io`, none where it has none."""
    said = opened.signature.io.get(key)
    return tuple(id for id in (said if isinstance(said, tuple) else (said,)) if isinstance(id, int))


def _text(opened: Opened, prompt: Prompt, row: int, ids: Iterable[int]) -> Iterator[str]:
    """The text of ids behind the one of a prompt's row, in pieces that end with whole letters."""
    before: list[int] = []
    if prompt.tokens is not None and prompt.mask is not None:
        before = prompt.tokens[row][prompt.mask[row]].tolist()
    text = TextStream(opened.tokenizer, before)
    for id in ids:
        if piece := text.push(id):
            yield piece
    if piece := text.finish():
        yield piece
