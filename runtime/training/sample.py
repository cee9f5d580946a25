"""A sample of what a language model learned: text drawn from it, token by token."""

from __future__ import annotations

from typing import Final

import torch

from runtime.training.data.common import Data
from runtime.training.data.text import Windows
from runtime.training.step import Trained

LENGTH, PROMPT = 240, 16
TEMPERATURE: Final = 0.8


def sample(trained: Trained, data: Data) -> str:
    """Text that continues the first tokens held out; empty for models of another kind."""
    if not isinstance(data.valid, Windows) or data.valid.mask is not None or data.tokenizer is None:
        return ""
    tokens = data.valid.stream[:PROMPT].to(trained.device)[None]
    rng = torch.Generator().manual_seed(0)
    trained.model.eval()
    with torch.no_grad():
        for _ in range(LENGTH):
            logits = trained.model(tokens[:, -data.valid.length :])[0, -1].float().cpu()
            chosen = torch.multinomial((logits / TEMPERATURE).softmax(0), 1, generator=rng)
            tokens = torch.cat([tokens, chosen[None].to(tokens.device)], 1)
    return data.tokenizer.text(tokens[0].tolist())
