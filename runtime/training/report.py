"""What a run says as it goes on: metrics.jsonl always, a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

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
    """The two outputs of a run. metrics: the names of what is evaluated."""

    def __init__(self, folder: Path, steps: int, metrics: tuple[str, ...], out: TextIO) -> None:
        self._file = folder / METRICS_FILE
        self._steps, self._metrics, self._out = steps, metrics, out
        self._live = out.isatty()
        self._shown = time.monotonic()
        self._row: Row | None = None
        self._pace: float | None = None
        self._headed = False

    def rewind(self, step: int) -> None:
        """Forget what metrics.jsonl says of later steps: they are about to be done again."""
        lines = (
            self._file.read_text(encoding="utf-8").splitlines(keepends=True) if self._file.exists() else []
        )
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        part = self._file.with_suffix(".part")
        part.write_text("".join(kept), encoding="utf-8")
        part.replace(self._file)

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
        assert self._row is not None
        self._shown = time.monotonic()
        self._print(self._line(self._row, figures) + (" *" if best else ""), passing=False)

    def _append(self, entry: Mapping[str, object]) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(as_json(entry) + "\n")

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


class Silent(Report):
    """The report of a process that does not speak: the first of several says it all."""

    def rewind(self, step: int) -> None:
        """Nothing."""

    def step(self, row: Row) -> None:
        """Nothing."""

    def evaluation(self, step: int, figures: Mapping[str, float], *, best: bool) -> None:
        """Nothing."""


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
