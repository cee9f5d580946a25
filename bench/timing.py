"""Measuring: calls in turns in one process, or each in a process of its own; medians of pairs."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Times = Mapping[str, Sequence[float]]
Measured = dict[str, float]


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, before: Callable[[], object] = gc.collect
) -> dict[str, list[float]]:
    """Seconds of each call, one after the other in every round, after a round that is not counted.

    before: what is done ahead of each call, unmeasured.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            before()
            start = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def ratio(times: Times, over: str, under: str) -> float:
    """The median of the ratios round by round: what disturbs one round disturbs both sides of it."""
    return statistics.median(a / b for a, b in zip(times[over], times[under], strict=True))


def told(times: Times, names: Sequence[str], scale: float = 1e3, unit: str = "ms") -> str:
    """Medians in words."""
    return ", ".join(f"{name} {scale * statistics.median(times[name]):.1f} {unit}" for name in names)


def private() -> int:
    """Bytes of this process's memory that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def measured(call: Callable[[], object]) -> Measured:
    """Wall and processor seconds, and the most private memory that was held beyond what was there before."""
    before, done, peak = private(), threading.Event(), 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, private() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, processor = time.perf_counter(), time.process_time()
    kept = call()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    done.set()
    watcher.join()
    peak = max(peak, private() - before)
    del kept
    return {"wall": wall, "processor": processor, "private": float(peak)}


def processes(
    module: str, ways: Sequence[str], arguments: Sequence[str], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Figures that `python -m MODULE WAY ARGUMENTS` prints as JSON: way -> figure -> one a round."""
    found: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
    for turn in range(rounds + 1):
        for way in ways:
            command = [sys.executable, "-m", module, way, *arguments]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            for figure, value in json.loads(done.stdout).items() if turn else ():
                found[way].setdefault(figure, []).append(value)
    return found


def commands(calls: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[float]]:
    """Seconds of whole processes, in turns."""

    def run(command: Sequence[str]) -> Callable[[], object]:
        return lambda: subprocess.run(command, check=True, capture_output=True)

    return interleaved({name: run(command) for name, command in calls.items()}, rounds)


def column(found: Mapping[str, Mapping[str, Sequence[float]]], figure: str) -> dict[str, Sequence[float]]:
    """One figure of each way."""
    return {way: figures[figure] for way, figures in found.items()}
