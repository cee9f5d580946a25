"""The compiler itself: commands without torch, modules on the meta device, and depth that costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median

import torch
import transformers

import compiler
from bench.table import AT_MOST, Row
from bench.timing import commands, interleaved, ratio, told

LARGE = "llama:3.1-405b"


def rows(quick: bool) -> list[Row]:
    """Whole processes, then calls."""
    return [*_processes(3 if quick else 9), *_calls(5 if quick else 25)]


def _processes(rounds: int) -> list[Row]:
    run = [sys.executable, "-m", "compiler"]
    calls = {
        "check gpt2": [*run, "check", "gpt2"],
        "show gpt2": [*run, "show", "gpt2"],
        f"show {LARGE}": [*run, "show", LARGE],
        "import torch": [sys.executable, "-c", "import torch"],
    }
    times = commands(calls, rounds)
    bars = {"check gpt2": 0.5, "show gpt2": 0.5, f"show {LARGE}": 1.0}
    return [
        Row(
            f"`{name}`, whole process",
            "the clock",
            median(times[name]),
            AT_MOST,
            bar,
            "s",
            told(times, ("import torch",)),
        )
        for name, bar in bars.items()
    ]


def _theirs() -> object:
    with torch.device("meta"):
        return transformers.GPT2LMHeadModel(transformers.GPT2Config())


def _calls(rounds: int) -> list[Row]:
    few, many = {"depth": 12}, {"depth": 120}
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: compiler.build("gpt2", device="meta"),
        "transformers": _theirs,
        "12 layers": lambda: compiler.emit("llama:3.1-8b", set=few),
        "120 layers": lambda: compiler.emit("llama:3.1-8b", set=many),
    }
    times = interleaved(calls, rounds)
    large = interleaved({LARGE: lambda: compiler.build(LARGE, device="meta")}, 3)
    return [
        Row(
            "GPT-2 as a module on meta",
            "transformers",
            ratio(times, "ours", "transformers"),
            AT_MOST,
            1.0,
            told=told(times, ("ours", "transformers")),
        ),
        Row(f"{LARGE} as a module on meta", "the clock", median(large[LARGE]), AT_MOST, 2.0, "s"),
        Row(
            "compile 120 equal layers",
            "12 layers",
            ratio(times, "120 layers", "12 layers"),
            AT_MOST,
            1.1,
            told=told(times, ("12 layers", "120 layers")),
        ),
    ]
