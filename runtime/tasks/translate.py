"""translate: texts rewritten in another language by an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from compiler.diagnostics.diagnostic import fail
from runtime.tasks.abilities import require
from runtime.tasks.generate import DEFAULT, Choice, Prompt, Written, new_tokens, prompt_of, prompt_of_ids
from runtime.tasks.opened import Opened


def translate(
    opened: Opened, texts: Sequence[str], *, language: str | None = None, choice: Choice = DEFAULT
) -> list[Written]:
    """Each text in the other language; the texts are one batch.

    language: the token with which a translation begins, for a model that writes several languages; left out,
    the spec's start token. Raises CompileError for a model of another kind and for a token that is unknown.
    """
    require(opened.signature, "translate")
    start = _language(opened, language) if language is not None else None
    rows = new_tokens(opened, _started(prompt_of(opened, texts), start), choice)
    return [Written(row, opened.tokenizer.decode(row), text) for row, text in zip(rows, texts, strict=True)]


def translate_tokens(
    opened: Opened, rows: Sequence[Sequence[int]], *, start: int | None = None, choice: Choice = DEFAULT
) -> list[Written]:
    """The same for texts that are ids already; no tokenizer is needed. start: the id that comes first."""
    require(opened.signature, "translate")
    return [
        Written(row, None) for row in new_tokens(opened, _started(prompt_of_ids(opened, rows), start), choice)
    ]


def _started(prompt: Prompt, start: int | None) -> Prompt:
    assert prompt.source is not None
    return replace(prompt, tokens=torch.full((len(prompt.source), 1), start)) if start is not None else prompt


def _language(opened: Opened, token: str) -> int:
    found = opened.tokenizer.id(token)
    if found is None:
        raise fail("usage", f"the vocabulary has no token {token!r}, which would say the language", None)
    return found
