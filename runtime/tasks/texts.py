"""Texts as the inputs of a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from compiler.diagnostics.diagnostic import fail
from runtime.tasks.opened import Opened
from runtime.text import Encoded


def read_texts(
    opened: Opened, texts: Sequence[str], *, pair: Sequence[str] | None = None, cut_at: int | None = None
) -> tuple[dict[str, torch.Tensor], Encoded]:
    """Texts as `tokens`, `mask` and `segments`, whichever of them the model takes, and as they were encoded.

    pair: a second text for each. cut_at: the most tokens of a text; what is longer loses its end.
    """
    encoded = opened.tokenizer.encode(texts, pair=pair, truncate=cut_at)
    check_vocabulary(opened, "tokens", encoded.tokens)
    found = {"tokens": encoded.tokens}
    if opened.tokenizer.length is None:  # else the model was trained to read the padding, too
        found["mask"] = encoded.mask
    if pair is not None:
        found["segments"] = encoded.segments
    return {name: x for name, x in found.items() if name in opened.signature.inputs}, encoded


def check_vocabulary(opened: Opened, port: str, tokens: torch.Tensor) -> None:
    """Raise CompileError for ids that a model has no vector for: its tokenizer is another one's."""
    size, id = opened.signature.vocabulary.get(port), int(tokens.max()) if tokens.numel() else 0
    if size is not None and id >= size:
        word = opened.tokenizer.token(id)
        message = f"the tokenizer gives {id} ({word!r}), and `{opened.signature.name}` knows {size} tokens"
        raise fail("wrong-model", message, None, help="name the tokenizer of this model: --tokenizer PATH")
