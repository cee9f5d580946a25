"""docs/errors.md: every code, its meaning and a case. `python -m tests.errors_page` writes it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from compiler.diagnostics.codes import CODES
from tests import casefile

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"
_HEAD = """\
# Errors

Every fault that the compiler reports has a code. Each code is shown here with what it means, something that
triggers it, and what is then printed. All faults of a phase come at once; later phases do not run.

Made from `compiler/diagnostics/codes.py` and `tests/cases` by `python -m tests.errors_page`.
"""


def page() -> str:
    """The whole text."""
    cases = casefile.cases()
    return "\n".join([_HEAD, _index(), *(_section(code, _example(code, cases)) for code in CODES)])


def _index() -> str:
    return "".join(f"- [`{code}`](#{code}): {meaning}\n" for code, meaning in CODES.items())


def _example(code: str, cases: Iterable[casefile.Case]) -> casefile.Case:
    """The case that shows the code with the least beside it."""
    fitting = [c for c in cases if c.code == code]
    return min(fitting, key=lambda c: (c.expected.count("error["), len(c.expected), c.name))


def _section(code: str, example: casefile.Case) -> str:
    parts = [f"## {code}\n\n{CODES[code]}\n\n{example.title}\n"]
    for head, text in example.files:
        parts.append(f"`{head.partition(': ')[0]}`\n\n```\n{text}```\n")
    if example.run != ("compile", example.files[0][0]):
        parts.append(f"`{' '.join(example.run)}`\n")
    parts.append(f"```\n{example.expected}```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
