"""generate and stream: the two ways to ask a model for tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from compiler.diagnostics.diagnostic import fail
from runtime.generation.beams import Search, beam_search
from runtime.generation.decoder import Decoder
from runtime.generation.interface import interface_of
from runtime.generation.options import MODEL, Filters, Ids, Options, check, endings
from runtime.generation.prompt import check_length, prompt
from runtime.generation.rules import rules
from runtime.generation.sampling import Rule, choice, steps


def generate(  # noqa: PLR0913 - what people may ask for, each by name
    model: nn.Module,
    tokens: Tensor | None = None,
    *,
    source: Tensor | None = None,
    source_mask: Tensor | None = None,
    mask: Tensor | None = None,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    eos: Ids = MODEL,
    pad: int | str | None = MODEL,
    seed: int | None = None,
) -> Tensor:
    """Continue sequences: int[B, T + new], the prompt included.

    tokens: int[B, T], the sequences to continue; None begins with the model's start token.
    source: what an encoder reads: token ids int[B, S], or features.
    mask, source_mask: bool[B, T] and bool[B, S], True where a token is real. Prompts are padded on the left.
    max_new_tokens: the most tokens that are added; fewer if every row ends before.
    temperature: 0 takes the likeliest token. Above 0 tokens are drawn, from scores divided by it, of which
    top_k keeps the k highest, top_p the likeliest that together reach p, min_p those that have at
    least p of the highest probability.
    repetition_penalty: scores of tokens that the sequence holds are divided by it, negative ones multiplied.
    num_beams, length_penalty: beam search; a beam's score is divided by its length to that power.
    eos, pad: token ids, instead of the model's own; eos=None never stops. Rows that have ended are filled
    with pad.
    seed: of the draws. The global random state is neither read nor changed.

    Raises CompileError, before anything is computed, for arguments that the model cannot take.
    """
    options = Options(
        max_new_tokens,
        Filters(temperature, top_k, top_p, min_p),
        repetition_penalty,
        num_beams,
        length_penalty,
        eos,
        pad,
        seed,
    )
    run = _Run(model, options, tokens, mask, source, source_mask)
    with _evaluating(run.modules), torch.inference_mode():
        found = run.search() if num_beams > 1 else run.sample()
    return found.clone()


def stream(  # noqa: PLR0913 - the same
    model: nn.Module,
    tokens: Tensor | None = None,
    *,
    source: Tensor | None = None,
    source_mask: Tensor | None = None,
    mask: Tensor | None = None,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    eos: Ids = MODEL,
    pad: int | str | None = MODEL,
    seed: int | None = None,
) -> Iterator[Tensor]:
    """The tokens of `generate`, int[B], one step after the other. Beams do not stream: num_beams stays 1."""
    options = Options(
        max_new_tokens,
        Filters(temperature, top_k, top_p, min_p),
        repetition_penalty,
        num_beams,
        length_penalty,
        eos,
        pad,
        seed,
    )
    run = _Run(model, options, tokens, mask, source, source_mask)
    if num_beams > 1:
        raise fail("usage", "beams do not stream: the best is known at the end", None, help="use `generate`")
    return _stream(run)


def _stream(run: _Run) -> Iterator[Tensor]:
    """The model's modes are the caller's between two tokens."""
    steps = run.steps()
    while True:
        with _evaluating(run.modules), torch.inference_mode():
            token = next(steps, None)
        if token is None:
            return
        yield token.clone()


@contextmanager
def _evaluating(modules: list[nn.Module]) -> Iterator[None]:
    """Inside, those that are being trained are in eval mode."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


class _Run:
    """One call: everything checked, nothing computed yet. text: the prompt, and room for what follows."""

    def __init__(
        self,
        model: nn.Module,
        options: Options,
        tokens: Tensor | None,
        mask: Tensor | None,
        source: Tensor | None,
        source_mask: Tensor | None,
    ) -> None:
        check(options)
        self.model = model
        self.options = options
        self.interface = interface_of(model)
        self.endings = endings(options, self.interface)
        device = next(model.parameters()).device
        self.prompt = prompt(self.interface, device, tokens, mask, source, source_mask)
        batch, self.start = self.prompt.tokens.shape
        check_length(self.interface, self.start, options.max_new_tokens)
        self.text = self.prompt.tokens.new_empty(batch, self.start + options.max_new_tokens)
        self.text[:, : self.start] = self.prompt.tokens
        self.rules = self._rules()
        self.modules = list(model.modules())

    def steps(self) -> Iterator[Tensor]:
        """One per new token; nothing runs before the first is asked for."""
        text, options = self.text, self.options
        choose = choice(options.filters, options.seed, text.device)
        yield from steps(self._decoder(), text, self.start, self.rules, choose, self.endings)

    def sample(self) -> Tensor:
        """All of them."""
        return self.text[:, : self.start + sum(1 for _ in self.steps())]

    def search(self) -> Tensor:
        """The best of the beams of each row."""
        options = self.options
        renormalize = bool(self.interface.io.get("renormalize"))
        search = Search(options.num_beams, options.length_penalty, renormalize)
        return beam_search(self._decoder(), self.text, self.start, self.rules, search, self.endings)

    def _decoder(self) -> Decoder:
        return Decoder(
            self.model, self.interface, self.prompt, self.text.shape[1] - 1, self.options.num_beams
        )

    def _rules(self) -> list[Rule]:
        mask = self.prompt.mask
        if mask is not None:
            mask = mask.repeat_interleave(self.options.num_beams, 0)
        return rules(self.options, self.endings, self.interface, self.text, self.start, mask)
