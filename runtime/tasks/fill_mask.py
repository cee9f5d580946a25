"""fill-mask: what stands where a text has mask tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from compiler.diagnostics.diagnostic import Diagnostics, fail
from runtime.tasks.abilities import require
from runtime.tasks.opened import Opened
from runtime.tasks.texts import read_texts


@dataclass(frozen=True)
class Guess:
    """A token for a hidden place, and how likely the model finds it there."""

    token: str
    id: int
    probability: float


@dataclass(frozen=True)
class Filled:
    """A text, the same with the likeliest token in each hidden place, and the guesses for each of these."""

    text: str
    filled: str
    masks: tuple[tuple[Guess, ...], ...]


def fill_mask(opened: Opened, texts: Sequence[str], *, top: int = 5) -> list[Filled]:
    """The `top` likeliest tokens for every mask token of every text, all from one pass over the batch.

    Each place is judged with the other ones hidden. Raises CompileError for a model of another kind, for a
    text without a mask token, and for one that is longer than the model reads.
    """
    require(opened.signature, "fill-mask")
    hidden = opened.tokenizer.mask
    if hidden is None:
        raise fail("wrong-model", f"the tokenizer of `{opened.signature.name}` has no mask token", None)
    inputs, encoded = read_texts(opened, texts)
    tokens = encoded.tokens
    _check(opened, texts, tokens, encoded.mask)
    logits = opened.call(inputs)["logits"].cpu()
    rows, places = (tokens == hidden).nonzero(as_tuple=True)
    probabilities, ids = logits[rows, places].float().softmax(-1).topk(min(top, logits.shape[-1]))
    best = tokens.clone()
    best[rows, places] = ids[:, 0]
    guesses = [_guesses(opened, *pair) for pair in zip(ids.tolist(), probabilities.tolist(), strict=True)]
    return [
        Filled(
            text,
            opened.tokenizer.decode(best[i][encoded.mask[i]]),
            tuple(guess for guess, row in zip(guesses, rows.tolist(), strict=True) if row == i),
        )
        for i, text in enumerate(texts)
    ]


def _guesses(opened: Opened, ids: Sequence[int], probabilities: Sequence[float]) -> tuple[Guess, ...]:
    return tuple(
        Guess(opened.tokenizer.token(id) or f"<{id}>", id, probability)
        for id, probability in zip(ids, probabilities, strict=True)
    )


def _check(opened: Opened, texts: Sequence[str], tokens: torch.Tensor, real: torch.Tensor) -> None:
    """Every text has something to guess, and is read whole."""
    diagnostics = Diagnostics()
    longest = opened.signature.longest("tokens")
    word = opened.tokenizer.mask_token
    for text, row, length in zip(texts, tokens, real.sum(1).tolist(), strict=True):
        if opened.tokenizer.mask not in row:
            message = f"nothing is hidden in {text!r}"
            diagnostics.error("usage", message, None, help=f"write {word} where the model is to guess")
        if longest is not None and length > longest:
            message = f"a text has {length} tokens, and `{opened.signature.name}` reads at most {longest}"
            diagnostics.error("usage", message, None)
    diagnostics.check()
