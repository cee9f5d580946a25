"""Markdown as a session: what its code fences say, run in order, and what they say comes out."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_RUN = {"sh": "{}", "python": "./run python - <<'FENCE'\n{}FENCE\n"}


@dataclass(frozen=True)
class Step:
    """A fence to run, and the fence `text` that follows it: a line `...` there stands for any lines."""

    code: str
    expected: str | None

    def fault(self, output: str, code: int) -> str:
        """How what happened differs from what the document says; empty where it does not."""
        refused = self.expected is not None and self.expected.startswith("error[")
        if (code != 0) != refused:
            return f"exit code {code} of\n{self.code}\n{output}"
        if self.expected is not None and not re.fullmatch(_pattern(self.expected), output):
            return f"{self.code}\nsays\n{output}\ninstead of\n{self.expected}"
        return ""


def steps(document: Path) -> Iterator[Step]:
    """The fences of a document that are run. Raises ValueError for a language that is not known."""
    fences = _FENCE.findall(document.read_text(encoding="utf-8"))
    for (language, code), (following, text) in zip(fences, [*fences[1:], ("", "")], strict=True):
        if language in _RUN:
            yield Step(_RUN[language].format(code), text if following == "text" else None)
        elif language != "text":
            raise ValueError(f"{document.name}: a fence in `{language}` is not run")


def faults(document: Path, folder: Path, environment: Mapping[str, str], without: str = "") -> list[str]:
    """Run a document's fences in `folder`: what went otherwise than it says. without: a line left out."""
    found, exports = [], ""
    for step in steps(document):
        lines = [line for line in step.code.splitlines(keepends=True) if line.strip() != without]
        done = subprocess.run(
            ["bash", "-ec", exports + "".join(lines)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        exports += "".join(line for line in lines if line.startswith("export "))
        found.append(step.fault(done.stdout, done.returncode))
    return [fault for fault in found if fault]


def _pattern(expected: str) -> str:
    return "".join(
        r"(?:.*\n)*?" if line == "...\n" else re.escape(line) for line in expected.splitlines(keepends=True)
    )
