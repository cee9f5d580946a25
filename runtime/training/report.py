"""What a run says as it goes on: metrics.jsonl always, a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from compiler.diagnostics.diagnostic import fail
from compiler.weights.readers.files import place
from runtime.training.folder import keep

METRICS_FILE: Final = "metrics.jsonl"
_EVERY: Final = 10.0  # seconds between plain lines
_LIVE: Final = 0.2  # seconds between updates of the live line


@dataclass(frozen=True)
class Row:
    """One step. data: the share of its time that was spent waiting for data. rate: `unit`s per second."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float
    data: float
    rate: float
    unit: str


class Report:
    """The two outputs of a run, which its first process makes. metrics: the names of what is evaluated.

    Raises CompileError where metrics.jsonl cannot be written.
    """

    def __init__(self, folder: Path, steps: int, metrics: tuple[str, ...], out: TextIO) -> None:
        self._file = folder / METRICS_FILE
        self._steps, self._metrics, self._out = steps, metrics, out
        self._live = out.isatty()
        self._shown = time.monotonic()
        self._row: Row | None = None
        self._pace: float | None = None
        self._headed = False

    def rewind(self, step: int, *, due: bool) -> None:
        """Forget what metrics.jsonl says of later steps: they are about to be done again.

        due: the evaluation after this step is, too.
        """
        entries = [e for e in read_metrics(self._file.parent) if e["step"] <= step]
        if due:
            entries = [e for e in entries if e["step"] < step or "valid" not in e]
            self._row = Row(**entries[-1]) if entries else None
        keep(self._file, "".join(as_json(entry) + "\n" for entry in entries))

    def step(self, row: Row) -> None:
        """A step was done."""
        self._append(asdict(row))
        self._row = row
        self._pace = row.seconds if self._pace is None else 0.95 * self._pace + 0.05 * row.seconds
        now = time.monotonic()
        if now - self._shown >= (_LIVE if self._live else _EVERY):
            self._shown = now
            self._print(self._line(row, {}), passing=True)

    def evaluation(self, step: int, figures: Mapping[str, float], *, best: bool) -> None:
        """The held-out part was measured."""
        self._append({"step": step, "valid": dict(figures), "best": best})
        self._shown = time.monotonic()
        if self._row is not None:  # of a run that goes on it is lost with metrics.jsonl
            self._print(self._line(self._row, figures) + (" *" if best else ""), passing=False)

    def _append(self, entry: Mapping[str, object]) -> None:
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(as_json(entry) + "\n")
        except OSError as error:
            message = f"cannot write to {self._file.name}: {error.strerror or error}"
            cure = "make room, then go on with --resume"
            raise fail("not-writable", message, place(self._file), help=cure) from None

    def _line(self, row: Row, figures: Mapping[str, float]) -> str:
        cells = [f"{row.step:>7}", f"{row.loss:>9.4f}"]
        cells += [f"{figures[m]:>{_width(m)}.4f}" if m in figures else " " * _width(m) for m in self._metrics]
        left = (self._pace or 0.0) * (self._steps - row.step)
        cells += [f"{row.lr:>9.2e}", f"{row.grad_norm:>8.3f}", f"{row.rate:>11,.0f}", f"{clock(left):>8}"]
        if not self._headed:
            self._headed = True
            names = ["valid" if m == "loss" else m for m in self._metrics]
            heads = [f"{'step':>7}", f"{'loss':>9}", *(f"{m:>{_width(m)}}" for m in names)]
            heads += [f"{'lr':>9}", f"{'grad':>8}", f"{row.unit + '/s':>11}", f"{'left':>8}"]
            print(" ".join(heads), file=self._out)
        return " ".join(cells)

    def _print(self, line: str, passing: bool) -> None:
        """On a terminal a passing line is written over by the next one."""
        if self._live:
            self._out.write(f"\r\x1b[K{line}" + ("" if passing else "\n"))
        else:
            self._out.write(line + "\n")
        self._out.flush()


def as_json(value: Mapping[str, object]) -> str:
    """A mapping as JSON, which has no NaN and no infinity: they are null."""
    return json.dumps(_finite(value), allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _width(metric: str) -> int:
    return max(9, len(metric))


def clock(seconds: float) -> str:
    """A time as people read it: 0:07, 12:30, 1:02:03."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; the last may be cut short by a kill. None: what is no number."""
    path = folder / METRICS_FILE
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
