"""Spec to a module on the meta device, beside transformers' from_config there; and a LLaMA of 405 billion.

`python -m bench.meta`. Medians of interleaved runs in one process, files already read; under 1 is faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import transformers

import compiler

RUNS = 25


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ours() -> object:
    return compiler.build("gpt2", device="meta")


def theirs() -> object:
    config = transformers.GPT2Config()
    with torch.device("meta"):
        return transformers.GPT2LMHeadModel(config)


def large() -> object:
    return compiler.build("llama:3.1-405b", device="meta")


def main() -> None:
    for run in (ours, theirs, large):
        run()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(RUNS)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"gpt2 on meta: {1e3 * mine:.1f} ms, transformers {1e3 * other:.1f} ms, ratio {mine / other:.2f}")
    biggest = statistics.median(seconds(large) for _ in range(5))
    print(f"llama:3.1-405b on meta: {biggest:.2f} s, ratio to 2 s {biggest / 2:.2f}")


if __name__ == "__main__":
    main()
