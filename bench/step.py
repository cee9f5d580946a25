"""A training step (forward, backward, AdamW) in the same plain loop on both sides, and the memory it takes.

Without dropout, which draws other numbers on either side. `python -m bench.step WAY THREADS` measures memory.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.optim import AdamW

import compiler
from bench.table import AT_MOST, Row
from bench.timing import Measured, column, interleaved, measured, processes, ratio, told


def rows(quick: bool) -> list[Row]:
    """GPT-2 as it stands and with the pass `loss`, ViT, and what GPT-2's step adds to the state."""
    rounds = 3 if quick else 9
    gpt2 = interleaved({way: made() for way, made in GPT2.items()}, rounds)
    gc.collect()
    vit = interleaved({"ours": _vit(), "transformers": _their_vit()}, rounds)
    threads = str(torch.get_num_threads())
    memory = column(processes("bench.step", tuple(GPT2), [threads], 1 if quick else 3), "private")
    found = [
        _row(
            "step GPT-2, 2 x 256", ratio(gpt2, "ours", "transformers"), told(gpt2, ("ours", "transformers"))
        ),
        _row("step GPT-2, 2 x 256, pass `loss`", ratio(gpt2, "loss", "transformers"), told(gpt2, ("loss",))),
        _row("step ViT-B/16, 4 pictures", ratio(vit, "ours", "transformers"), told(vit, tuple(vit))),
    ]
    figures = told(memory, tuple(memory), 1e-6, "MB")
    more = ratio(memory, "loss", "transformers")
    what = "step GPT-2, pass `loss`: most private memory beyond weights and optimizer"
    return [*found, Row(what, "transformers", more, AT_MOST, 0.7, told=figures)]


def _row(what: str, figure: float, words: str) -> Row:
    return Row(what, "transformers", figure, AT_MOST, 1.03, told=words)


@dataclass(frozen=True)
class Loop:
    """A plain training loop; a call is one turn of it."""

    optimizer: AdamW
    loss: Callable[[], Tensor]

    @classmethod
    def of(cls, model: nn.Module, loss: Callable[[], Tensor]) -> Loop:
        """With the one optimizer that both sides have."""
        return cls(AdamW(model.train().parameters(), lr=1e-4, fused=True), loss)

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def _tokens() -> Tensor:
    return torch.randint(0, 50257, (2, 256), generator=torch.Generator().manual_seed(0))


def _plain() -> Loop:
    tokens, model = _tokens(), compiler.build("gpt2", set={"dropout": 0.0})
    return Loop.of(model, lambda: model(tokens, labels=tokens).loss)


def _chunked() -> Loop:
    tokens, model = _tokens(), compiler.build("gpt2", set={"dropout": 0.0}, optimize=("loss",))
    return Loop.of(model, lambda: model(tokens, labels=tokens))


def _theirs() -> Loop:
    config = transformers.GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    tokens, model = _tokens(), transformers.GPT2LMHeadModel(config)
    return Loop.of(model, lambda: model(input_ids=tokens, labels=tokens, use_cache=False).loss)


def _pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 224, 224, generator=generator), torch.randint(0, 1000, (4,), generator=generator)


def _vit() -> Loop:
    (pixels, labels), model = _pictures(), compiler.build("vit")
    return Loop.of(model, lambda: model(pixels, labels=labels).loss)


def _their_vit() -> Loop:
    pixels, labels = _pictures()
    model: Any = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000))
    return Loop.of(model, lambda: model(pixels, labels=labels).loss)


GPT2: dict[str, Callable[[], Loop]] = {"ours": _plain, "loss": _chunked, "transformers": _theirs}


def grown(way: str) -> Measured:
    """What a step adds to weights and optimizer, once these stand and the allocator holds nothing else."""
    loop = GPT2[way]()
    loop()
    loop()
    loop.optimizer.zero_grad(set_to_none=True)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return measured(loop)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    print(json.dumps(grown(sys.argv[1])))
