"""A model as a function from tokens to the scores of the next one, with whatever it keeps between calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from compiler.backend.build import program_of
from runtime.generation.cache import Entry, entries, reorder, spread
from runtime.generation.interface import MASK, SOURCE, SOURCE_MASK, Interface
from runtime.generation.prompt import Prompt


class Decoder:
    """Scores [B, V] of the token after `ids`. Each call goes on where the last one ended.

    capacity: the most tokens that will be read, prompt included.
    beams: how often each row will stand from the second call on, after `spread`.
    """

    def __init__(
        self, model: nn.Module, interface: Interface, prompt: Prompt, capacity: int, beams: int = 1
    ) -> None:
        self._module: Any = model
        self._call: Any = model
        self._tokens = interface.tokens
        self._capacity = capacity
        self._mask = _whole_mask(prompt.mask, capacity)
        self._fixed: dict[str, Any] = {"last": True} if interface.cached else {}
        self._cache: dict[str, Any] | None = None
        self._entries: tuple[Entry, ...] = ()
        if interface.encoder is not None:
            self._call = self._module.decode
            self._fixed |= _encoded(self._module, interface, prompt)
        self._beams = beams
        if interface.cached:
            batch, length = prompt.tokens.shape
            self._new_cache(batch, capacity if beams == 1 else length)

    def __call__(self, ids: Tensor) -> Tensor:
        """ids: int[B, L], all tokens so far."""
        new = ids if self._cache is None else ids[:, self._cache["past"] :]
        if self._mask is not None:
            self._fixed[MASK] = self._mask[:, : ids.shape[1]]
        out = self._call(**{self._tokens: new}, **self._fixed)
        logits: Tensor = out if isinstance(out, Tensor) else out.logits
        return logits[:, -1]

    def spread(self) -> None:
        """From here on every row stands as often as there are beams, one behind the other."""
        times = self._beams
        for name, value in self._fixed.items():
            if isinstance(value, Tensor):
                self._fixed[name] = value.repeat_interleave(times, 0)
        if self._mask is not None:
            self._mask = self._mask.repeat_interleave(times, 0)
        if self._cache is not None:
            old, past = self._entries, self._cache["past"]
            self._new_cache(self._batch * times, self._capacity)
            spread(old, self._entries, past, times)
            self._cache["past"] = past

    def reorder(self, sources: list[int]) -> None:
        """Row i goes on from what row sources[i] has read; rows that go on from themselves cost nothing."""
        rows = [row for row, source in enumerate(sources) if row != source]
        if rows and self._cache is not None:
            device = next(self._module.parameters()).device
            index = torch.tensor([rows, [sources[row] for row in rows]], device=device)
            reorder(self._entries, self._cache["past"], index[0], index[1])

    def _new_cache(self, batch: int, capacity: int) -> None:
        self._batch = batch
        self._cache = self._module.new_cache(batch, capacity)
        self._fixed["cache"] = self._cache
        self._entries = entries(self._cache, program_of(self._module))


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
