"""translate: texts rewritten in another language by an encoder and a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from compiler.diagnostics.diagnostic import fail
from runtime.tasks.abilities import require
from runtime.tasks.generate import (
    DEFAULT,
    Choice,
    Prompt,
    Written,
    new_tokens,
    prompt_of,
    prompt_of_ids,
    written,
)
from runtime.tasks.opened import Opened


def translate(
    opened: Opened, texts: Sequence[str], *, language: str | None = None, choice: Choice = DEFAULT
) -> list[Written]:
    """Each text in the other language; the texts are one batch.

    language: the token that says which language, for a model that writes several; it comes first, behind the
    spec's start token if there is one. Raises CompileError for a model of another kind, for a token that is
    unknown, and where nothing says how a translation begins.
    """
    require(opened.signature, "translate")
    id = _language(opened, language) if language is not None else None
    return written(opened, _told(opened, prompt_of(opened, texts), id), texts, choice)


def translate_tokens(
    opened: Opened, rows: Sequence[Sequence[int]], *, language: int | None = None, choice: Choice = DEFAULT
) -> list[Written]:
    """The same for texts that are ids already; no tokenizer is needed. language: the id of its token."""
    require(opened.signature, "translate")
    return [
        Written(row, None)
        for row in new_tokens(opened, _told(opened, prompt_of_ids(opened, rows), language), choice)
    ]


def _told(opened: Opened, prompt: Prompt, language: int | None) -> Prompt:
    """The prompt with the language behind its start. Raises CompileError where both are absent."""
    assert prompt.source is not None
    if language is not None:
        told = torch.full((len(prompt.source), 1), language)
        return replace(prompt, tokens=told if prompt.tokens is None else torch.cat([prompt.tokens, told], 1))
    if prompt.tokens is None:
        message = f"nothing says how a translation of `{opened.signature.name}` begins"
        raise fail("usage", message, None, help="name the token of the language: --language TOKEN")
    return prompt


def _language(opened: Opened, token: str) -> int:
    found = opened.tokenizer.id(token)
    if found is None:
        raise fail("usage", f"the vocabulary has no token {token!r}, which would say the language", None)
    return found
