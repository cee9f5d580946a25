"""`python -m bench.profile NAME`: the operations of a decode step and their time, beside transformers'."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import runtime
from bench.decode import DTYPES, NAMES, PROMPT, against, ours, touch
from bench.models import saved, theirs

SHOWN = 16
PRODUCTS = ("aten::addmm", "aten::mm")


@dataclass(frozen=True)
class Step:
    """Of one token: wall milliseconds without the profiler; op -> (microseconds of its own, calls)."""

    wall: float
    ops: dict[str, tuple[float, float]]

    def total(self, products: bool) -> float:
        """Milliseconds of the matrix products, or of all other operations."""
        return sum(us for op, (us, _) in self.ops.items() if (op in PRODUCTS) == products) / 1e3


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("name", choices=tuple(NAMES))
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="fp32")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--new", type=int, default=32, help="tokens to write")
    parser.add_argument("--threads", type=int, default=1, help="of torch; more than one hide in the waiting")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peer = theirs(options.name, DTYPES[options.dtype])
    with saved(peer) as folder:
        model = runtime.load(folder)
        touch(model)
    prompt = torch.randint(0, 1000, (options.batch, PROMPT))
    mine = step(ours(model, prompt, options.new), options.new)
    other = step(against(peer, prompt, options.new), options.new)
    print("\n".join(table(mine, other)))
    return 0


def step(call: Callable[[], Any], new: int) -> Step:
    """One call unmeasured, one against the clock, one profiled."""
    call()
    start = time.perf_counter()
    call()
    wall = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CPU]) as found:
        call()
    events = found.key_averages()
    return Step(1e3 * wall / new, {e.key: (e.self_cpu_time_total / new, e.count / new) for e in events})


def table(mine: Step, other: Step) -> list[str]:
    """Markdown: sums first, then the operations that take most."""
    lines = ["| of one token | ours | transformers |", "| --- | --- | --- |"]
    lines.append(f"| wall, not profiled | {mine.wall:.1f} ms | {other.wall:.1f} ms |")
    for products, what in ((True, "matrix products"), (False, "all other operations")):
        lines.append(f"| {what} | {mine.total(products):.2f} ms | {other.total(products):.2f} ms |")
    ops = {**other.ops, **mine.ops}
    heaviest = sorted(ops, key=lambda op: -max(_of(mine, op)[0], _of(other, op)[0]))
    for op in heaviest[:SHOWN]:
        cells = (f"{us:.0f} us in {calls:.0f}" for us, calls in (_of(mine, op), _of(other, op)))
        lines.append(f"| {op.removeprefix('aten::')} | {' | '.join(cells)} |")
    return lines


def _of(taken: Step, op: str) -> tuple[float, float]:
    return taken.ops.get(op, (0.0, 0.0))


if __name__ == "__main__":
    raise SystemExit(main())
