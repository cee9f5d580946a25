"""A model as a function from tokens to the scores of the next one, with whatever it keeps between calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from runtime.generation.interface import MASK, SOURCE, SOURCE_MASK, Interface
from runtime.generation.prompt import Prompt


class Decoder:
    """Scores [B, V] of the token after `ids`. Each call goes on where the last one ended.

    capacity: the most tokens that will be read, prompt included.
    """

    def __init__(self, model: nn.Module, interface: Interface, prompt: Prompt, capacity: int) -> None:
        self._call: Any = model
        self._tokens = interface.tokens
        self._fixed: dict[str, Any] = {}
        self._mask = _whole_mask(prompt.mask, capacity)
        self.cache: dict[str, Any] | None = None
        module: Any = model
        if interface.encoder is not None:
            self._call = module.decode
            self._fixed |= _encoded(module, interface, prompt)
        if interface.cached:
            self.cache = module.new_cache(prompt.tokens.shape[0], capacity)
            self._fixed |= {"cache": self.cache, "last": True}

    def __call__(self, ids: Tensor) -> Tensor:
        """ids: int[B, L], all tokens so far."""
        new = ids if self.cache is None else ids[:, self.cache["past"] :]
        if self._mask is not None:
            self._fixed[MASK] = self._mask[:, : ids.shape[1]]
        out = self._call(**{self._tokens: new}, **self._fixed)
        logits: Tensor = out if isinstance(out, Tensor) else out.logits
        return logits[:, -1]


def _whole_mask(mask: Tensor | None, capacity: int) -> Tensor | None:
    """The prompt's mask with room for what follows, all of it real."""
    if mask is None:
        return None
    whole = torch.ones(mask.shape[0], capacity, dtype=torch.bool, device=mask.device)
    whole[:, : mask.shape[1]] = mask
    return whole


def _encoded(module: Any, interface: Interface, prompt: Prompt) -> dict[str, Any]:
    """What the encoder gives the decoder, by the decoder's arguments."""
    encoder = interface.encoder
    assert encoder is not None and prompt.source is not None
    like = next(module.parameters())
    source = prompt.source.to(like.dtype) if encoder.source.is_float else prompt.source
    masked = {SOURCE_MASK: prompt.source_mask} if prompt.source_mask is not None else {}
    out = module.encode(**{SOURCE: source}, **masked)
    outputs = (out,) if isinstance(out, Tensor) else tuple(out)
    given = {name: value for name, value in zip(encoder.gives, outputs, strict=True) if name}
    return {**given, **(masked if interface.takes_source_mask else {})}
