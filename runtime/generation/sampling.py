"""One token after the other: the likeliest, or one drawn by its probability."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from runtime.generation.decoder import Decoder
from runtime.generation.filters import keep_min_p, keep_top_k, keep_top_p
from runtime.generation.options import Endings, Filters

#: Scores [B, V] -> chosen tokens, int[B].
Choice = Callable[[Tensor], Tensor]
#: Scores [B, V] and the tokens before them, int[B, L] -> scores by the rules of the call and the model.
Rule = Callable[[Tensor, Tensor], Tensor]


def steps(
    decoder: Decoder, text: Tensor, start: int, rules: list[Rule], choose: Choice, endings: Endings
) -> Iterator[Tensor]:
    """The tokens of each step, int[B], written into `text` (int[B, total]) from column `start` on.

    Ends when every row has, or when `text` is full.
    """
    eos = torch.tensor(endings.eos, device=text.device)
    ended: Tensor | None = None
    for length in range(start, text.shape[1]):
        ids = text[:, :length]
        logits = decoder(ids)
        if rules:
            logits = logits.float()
        for rule in rules:
            logits = rule(logits, ids)
        token = choose(logits)
        if ended is not None:
            token = torch.where(ended, endings.pad, token)
        text[:, length] = token
        yield token
        if len(endings.eos):
            ends = token == eos if len(endings.eos) == 1 else torch.isin(token, eos)
            ended = ends if ended is None else ended | ends
            if bool(ended.all()):
                return


def choice(filters: Filters, seed: int | None, device: torch.device) -> Choice:
    """How a token is chosen; draws come from a random state of their own."""
    if filters.temperature == 0:
        return likeliest
    generator = torch.Generator(device)
    generator.manual_seed(seed) if seed is not None else generator.seed()
    return lambda logits: draw(narrow(logits.float(), filters), generator)


def likeliest(logits: Tensor) -> Tensor:
    """The token with the highest score, the first of equals."""
    return logits.float().argmax(-1)  # on the processor, four times as fast as in bfloat16


def narrow(logits: Tensor, filters: Filters) -> Tensor:
    """The scores of the distribution that is drawn from."""
    if filters.temperature != 1:
        logits = logits / filters.temperature
    if filters.top_k is not None:
        logits = keep_top_k(logits, filters.top_k)
    if filters.top_p is not None and filters.top_p < 1:
        logits = keep_top_p(logits, filters.top_p)
    return keep_min_p(logits, filters.min_p) if filters.min_p else logits


def draw(logits: Tensor, generator: torch.Generator) -> Tensor:
    """A token of each row by its probability: the first of independent exponential clocks to ring.

    Unlike torch.multinomial it does not wait for the device.
    """
    probabilities = logits.softmax(-1)
    clocks = torch.empty_like(probabilities).exponential_(generator=generator)
    return (probabilities / clocks.clamp_(min=torch.finfo(clocks.dtype).tiny)).argmax(-1)
