"""Beam search: the likeliest sequences, of which several are followed at once.

As transformers 5 does it, with `early_stopping=False`: an input is done when its best open beam, scored at
its present length, is no better than the worst of its finished ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runtime.generation.decoder import Decoder
from runtime.generation.options import Endings
from runtime.generation.sampling import Rule

#: The score of what must not be chosen.
_NEVER = -1.0e9


@dataclass(frozen=True)
class Search:
    """How many beams of each input are followed, and how their scores are compared."""

    beams: int
    length_penalty: float
    renormalize: bool


@dataclass
class _Beams:
    """Sequences of equal rank for each input: ids int[B, n, total], score [B, n]."""

    ids: Tensor
    score: Tensor

    def pick(self, index: Tensor) -> _Beams:
        """Of each input the beams at index int[B, m]."""
        ids = self.ids.gather(1, index[..., None].expand(-1, -1, self.ids.shape[-1]))
        return _Beams(ids, self.score.gather(1, index))


def beam_search(
    decoder: Decoder, text: Tensor, start: int, rules: Sequence[Rule], search: Search, endings: Endings
) -> Tensor:
    """The best sequence of each input, int[B, L]; text: int[B, total], filled up to column `start`."""
    state = _State(text, start, search, endings)
    batch, beams, total = state.open.ids.shape
    for length in range(start, total):
        ids = state.open.ids.view(batch * beams, total)[:, :length]
        logits = decoder(ids if length > start else text[:, :start]).float()
        if length == start:
            decoder.spread()
            logits = logits.repeat_interleave(beams, 0)
        scores = logits.log_softmax(-1)
        for rule in rules:
            scores = rule(scores, ids)
        if search.renormalize:
            scores = scores.log_softmax(-1)
        parents = state.advance(scores.view(batch, beams, -1), length)
        *sources, goes_on = torch.cat((parents.view(-1), state.can_improve.any().view(1))).tolist()
        if not goes_on or length + 1 == total:
            break
        decoder.reorder(sources)
    return state.best()


class _State:
    """Open and finished beams of each input."""

    def __init__(self, text: Tensor, start: int, search: Search, endings: Endings) -> None:
        batch, total = text.shape
        device = text.device
        self.start, self.total, self.search = start, total, search
        self.eos = torch.tensor(endings.eos, device=device, dtype=text.dtype)
        self.kept = max(2, 1 + len(endings.eos)) * search.beams
        ids = torch.full((batch, search.beams, total), endings.pad, device=device, dtype=text.dtype)
        ids[:, :, :start] = text[:, None, :start]
        score = torch.zeros(batch, search.beams, device=device)
        score[:, 1:] = _NEVER  # all beams are equal at first, so one of them goes on
        self.open = _Beams(ids, score)
        self.done = _Beams(ids.clone(), torch.full_like(score, _NEVER))
        self.is_done = torch.zeros_like(score, dtype=torch.bool)
        self.length = torch.full_like(score, start, dtype=torch.int64)  # of the finished ones
        self.can_improve = torch.ones(batch, 1, dtype=torch.bool, device=device)
        self.first_row = search.beams * torch.arange(batch, device=device)[:, None]

    def advance(self, scores: Tensor, length: int) -> Tensor:
        """One token more on each beam; scores: log-probabilities [B, n, V] of what follows `length` tokens.

        Returns int[B, n]: the row from which each open beam goes on.
        """
        vocab = scores.shape[-1]
        total = (scores + self.open.score[..., None]).flatten(1)
        found = total.topk(min(self.kept, total.shape[1]))
        parents = found.indices // vocab
        tokens = found.indices % vocab
        candidates = _Beams(self.open.pick(parents).ids, found.values)
        candidates.ids[:, :, length] = tokens
        ends = torch.isin(tokens, self.eos) | (length + 1 == self.total)
        still = found.values + ends.to(found.values.dtype) * _NEVER
        chosen = still.topk(self.search.beams).indices
        self.open = _Beams(candidates.ids, still).pick(chosen)
        self._finish(candidates, ends, length + 1)
        self._judge(length + 1)
        return parents.gather(1, chosen) + self.first_row

    def _finish(self, candidates: _Beams, ends: Tensor, length: int) -> None:
        """Keep the best of the finished beams and of the candidates that end among the best n."""
        among = ends & (torch.arange(ends.shape[1], device=ends.device) < self.search.beams)
        score = candidates.score / (length - self.start) ** self.search.length_penalty
        score = score + (~self.can_improve).to(score.dtype) * _NEVER + (~among).to(score.dtype) * _NEVER
        merged = _Beams(torch.cat((self.done.ids, candidates.ids), 1), torch.cat((self.done.score, score), 1))
        best = merged.score.topk(self.search.beams).indices
        self.done = merged.pick(best)
        self.is_done = torch.cat((self.is_done, among), 1).gather(1, best)
        grown = torch.full_like(candidates.score, length, dtype=self.length.dtype)
        self.length = torch.cat((self.length, grown), 1).gather(1, best)

    def _judge(self, length: int) -> None:
        """Whether an open beam could still be better than a finished one."""
        hoped = self.open.score[:, :1] / (length - self.start) ** self.search.length_penalty
        worst = self.done.score.amin(1, keepdim=True)
        worst = torch.where(self.is_done, worst, _NEVER)
        self.can_improve = self.can_improve & (hoped > worst).any(-1, keepdim=True)

    def best(self) -> Tensor:
        """Each input's best sequence, all as long as the longest."""
        return self.done.ids[:, 0, : int(self.length[:, 0].max())]
