"""Decoding: tokens a second beside transformers' generate, and beside the matrix products alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import runtime
from bench.models import saved, theirs
from bench.table import AT_LEAST, AT_MOST, Row
from bench.timing import Times, interleaved, ratio, told

PROMPT = 8
NAMES = {"gpt2": "GPT-2 124M", "smollm2": "SmolLM2-135M"}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAID_OUT: dict[str, Any] = {"optimize": ("fuse",), "layout": "decode"}
LAID_OUT_EIGHT: dict[str, Any] = {"optimize": ("fuse",), "layout": "batch"}


def rows(quick: bool) -> list[Row]:
    """Both shapes, one token at a time and eight."""
    found: list[Row] = []
    for name in NAMES:
        found += _one(name, 32 if quick else 128, 3 if quick else 5)
        found += _eight(name, 16 if quick else 64, 2 if quick else 5)
    return found


def _one(name: str, new: int, rounds: int) -> list[Row]:
    """Batch 1, both types in one run."""
    calls: dict[str, Callable[[], Any]] = {}
    for kind, dtype in DTYPES.items():
        peer = theirs(name, dtype)
        prompt = torch.randint(0, 1000, (1, PROMPT))
        with saved(peer) as folder:
            plain, laid = runtime.load(folder), runtime.load(folder, **LAID_OUT)
            touch(plain)
            touch(laid)
        calls[f"{kind} plain"] = ours(plain, prompt, new)
        calls[f"{kind} laid out"] = ours(laid, prompt, new)
        calls[f"{kind} transformers"] = against(peer, prompt, new)
        calls[f"{kind} products"] = _products(plain, new)
    equal = {kind: torch.equal(calls[f"{kind} plain"](), calls[f"{kind} laid out"]()) for kind in DTYPES}
    times = interleaved(calls, rounds)
    per_token = {way: [t / new for t in several] for way, several in times.items()}
    found = [row for kind in DTYPES for row in _of_type(name, kind, per_token, equal[kind])]
    for way in ("plain", "laid out"):
        gain = ratio(per_token, "fp32 plain", f"bf16 {way}")
        what = f"decode {NAMES[name]} bf16, {way}"
        found.append(
            Row(
                what,
                "our fp32, plain",
                gain,
                AT_LEAST,
                1.5,
                told=told(per_token, ("fp32 plain", f"bf16 {way}")),
            )
        )
    return found


def _of_type(name: str, kind: str, times: Times, equal: bool) -> list[Row]:
    title = f"decode {NAMES[name]} {kind}"
    plain, laid, peer, floor = (f"{kind} {way}" for way in ("plain", "laid out", "transformers", "products"))
    tokens = "tokens equal" if equal else "tokens differ"
    return [
        Row(title, "transformers", ratio(times, peer, plain), AT_LEAST, 1.1, told=told(times, (plain, peer))),
        _laid_out(title, "transformers", ratio(times, peer, laid), 1.3, told(times, (laid, peer))),
        _to_products(title, ratio(times, plain, floor), told(times, (plain, floor))),
        _to_products(f"{title}, laid out", ratio(times, laid, floor), told(times, (laid, floor))),
        _laid_out(
            title, "our plain", ratio(times, plain, laid), 1.1, f"{told(times, (laid, plain))}; {tokens}"
        ),
    ]


def _laid_out(title: str, beside: str, gain: float, bar: float, words: str) -> Row:
    return Row(f"{title}, laid out", beside, gain, AT_LEAST, bar, told=words)


def _to_products(title: str, share: float, words: str) -> Row:
    """The floor is that of the plain text's weights, whatever the layout."""
    return Row(title, "its products alone", share, AT_MOST, 1.25, told=words)


def _eight(name: str, new: int, rounds: int) -> list[Row]:
    peer = theirs(name, torch.float32)
    prompt = torch.randint(0, 1000, (8, PROMPT))
    with saved(peer) as folder:
        plain, laid = runtime.load(folder), runtime.load(folder, **LAID_OUT_EIGHT)
        touch(plain)
        touch(laid)
    calls = {
        "plain": ours(plain, prompt, new),
        "laid out": ours(laid, prompt, new),
        "transformers": against(peer, prompt, new),
    }
    equal = torch.equal(calls["plain"](), calls["laid out"]())
    times = interleaved(calls, rounds)
    steps = {way: [t / new for t in several] for way, several in times.items()}
    what = f"decode {NAMES[name]} fp32, batch 8"
    found = []
    for way, title in (("plain", what), ("laid out", f"{what}, laid out")):
        note = told(steps, (way, "transformers"))
        if way == "laid out":
            note += f"; tokens {'equal' if equal else 'differ'}"
        found.append(Row(title, "transformers", ratio(steps, "transformers", way), AT_LEAST, 1.1, told=note))
    return found


def touch(model: nn.Module) -> None:
    """Read mapped weights once, while their file is there."""
    for parameter in model.parameters():
        parameter.detach().sum()


def ours(model: nn.Module, prompt: torch.Tensor, new: int) -> Callable[[], torch.Tensor]:
    return lambda: runtime.generate(model, prompt, max_new_tokens=new, eos=None)


def against(model: Any, prompt: torch.Tensor, new: int) -> Callable[[], torch.Tensor]:
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    mask = torch.ones_like(prompt)
    return lambda: model.generate(prompt, attention_mask=mask, max_new_tokens=new, do_sample=False)


def _products(model: Any, new: int) -> Callable[[], None]:
    """The products of a token's matrices, as often as there are tokens."""
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    head = next(m for m in model.modules() if isinstance(m, nn.Embedding)).weight  # tied in both shapes
    pairs = [(m.weight, m.bias) for m in linear] + [(head, None)]
    inputs = [torch.randn(1, 1, w.shape[1], dtype=w.dtype) for w, _ in pairs]

    @torch.inference_mode()
    def run() -> None:
        for _ in range(new):
            for (weight, bias), x in zip(pairs, inputs, strict=True):
                F.linear(x, weight, bias)

    return run
