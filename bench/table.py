"""What was measured, as rows; and the table of them."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

AT_MOST, AT_LEAST = "<=", ">="
LIBRARIES = ("torch", "transformers", "timm", "open_clip_torch", "safetensors")


@dataclass(frozen=True)
class Row:
    """One comparison. figure: what is held against the bar; told: the absolute figures behind it."""

    what: str
    beside: str
    figure: float
    sense: str
    bar: float
    unit: str = "x"
    told: str = ""

    @property
    def holds(self) -> bool:
        """Whether the bar is kept."""
        return self.figure <= self.bar if self.sense == AT_MOST else self.figure >= self.bar

    def cells(self) -> list[str]:
        """As a line of the table."""
        verdict = "yes" if self.holds else "**no**"
        figure, bar = f"{self.figure:.2f} {self.unit}", f"{self.sense} {self.bar:g} {self.unit}"
        return [self.what, self.beside, figure, bar, verdict, self.told]


def markdown(rows: Sequence[Row], threads: int) -> str:
    """The table under the machine that it was measured on."""
    titles = ["what", "beside", "measured", "bar", "kept", "medians"]
    lines = [f"{machine()}, {threads} threads; {versions()}", ""]
    lines += [_line(titles), _line(["---"] * len(titles)), *(_line(row.cells()) for row in rows)]
    return "\n".join(lines) + "\n"


def as_json(rows: Sequence[Row], threads: int) -> str:
    """The same as data."""
    found = [{**asdict(row), "holds": row.holds} for row in rows]
    head = {"machine": machine(), "threads": threads, "versions": versions()}
    return json.dumps({**head, "rows": found}, indent=2) + "\n"


def machine() -> str:
    """The processor's name, and how many there are."""
    info = Path("/proc/cpuinfo")
    names = (
        [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return f"{names[0].partition(': ')[2]} x {len(names)}" if names else platform.processor()


def versions() -> str:
    """The libraries that were measured."""
    return ", ".join(f"{name} {version(name)}" for name in LIBRARIES)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
