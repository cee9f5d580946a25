"""Loading, beside transformers' from_pretrained and beside a plain read of the same bytes.

`python -m bench.load`: two checkpoints in a temporary folder, each way of reading them measured in processes
of its own, in turns, medians. Wall time moves with the machine's other work; processor seconds and memory are
firm.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

import compiler
import runtime

RUNS = 5
#: Read as it stands, bfloat16; and GPT-2, whose matrices are stored the other way round, float32.
IDENTITY, TRANSPOSED = "llama:3.2-1b", "gpt2:large"
Measured = dict[str, float]


def private() -> int:
    """Bytes of memory that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def measure(run: Callable[[], object]) -> Measured:
    """Wall and processor seconds, and the most private memory that was held beyond what was there before."""
    before, done, peak = private(), threading.Event(), 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, private() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, processor = time.perf_counter(), time.process_time()
    kept = run()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    done.set()
    watcher.join()
    peak = max(peak, private() - before)
    del kept
    return {"wall": wall, "processor": processor, "private": float(peak)}


def ours(folder: Path) -> Measured:
    return measure(lambda: runtime.load(folder))


def module(folder: Path) -> Measured:
    """What a load does before it reads: the compiled module, without values."""
    return measure(lambda: compiler.build(folder, device="meta"))


def theirs(folder: Path) -> Measured:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    kind = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
    return measure(lambda: kind.from_pretrained(folder, dtype="auto"))


def plain(folder: Path) -> Measured:
    """The file's bytes into fresh memory, nothing else."""

    def read() -> torch.Tensor:
        file = folder / "model.safetensors"
        fresh = torch.empty(file.stat().st_size, dtype=torch.uint8)
        view, at = fresh.numpy().data, 0
        with file.open("rb", buffering=0) as stream:
            while read := stream.readinto(view[at:]):
                at += read
        return fresh

    return measure(read)


WAYS = {"ours": ours, "module": module, "theirs": theirs, "plain": plain}


def medians(folder: Path) -> dict[str, Measured]:
    """Of each way's figures; the first round only brings the file into the page cache."""
    found: dict[str, list[Measured]] = {name: [] for name in WAYS}
    for turn in range(RUNS + 1):
        for name, several in found.items():
            command = [sys.executable, "-m", "bench.load", name, str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            if turn:
                several.append(json.loads(done.stdout))
    return {
        name: {figure: statistics.median(one[figure] for one in several) for figure in several[0]}
        for name, several in found.items()
    }


def report(spec: str, dtype: torch.dtype) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        runtime.export(runtime.load(spec, weights=None, dtype=dtype), folder)
        size = (folder / "model.safetensors").stat().st_size
        found = medians(folder)
    print(f"{spec}, {size / 1e9:.2f} GB, {dtype}")
    for name, figures in found.items():
        print(
            f"  {name:7s} {figures['wall']:6.2f} s wall {figures['processor']:6.2f} s processor"
            f" {figures['private'] / 1e9:6.2f} GB private"
        )
    for figure in ("wall", "processor"):
        own, base, other, read = (found[way][figure] for way in WAYS)
        print(
            f"  {figure}: {own - base:.3f} s beyond the module,"
            f" {own / other:.2f} of transformers, {own / read:.2f} of a plain read"
        )
    print(f"  private memory: {found['ours']['private'] / size:.3f} of the file")


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(WAYS[sys.argv[1]](Path(sys.argv[2]))))
        return
    report(IDENTITY, torch.bfloat16)
    report(TRANSPOSED, torch.float32)


if __name__ == "__main__":
    main()
