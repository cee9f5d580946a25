"""Many faults at once: the first in full, every other one in a line of its own."""

from __future__ import annotations

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.render import MAX_SHOWN, render_all
from compiler.source.text import SourceFile, Span


def test_no_fault_is_lost() -> None:
    file = SourceFile("a.yaml", "x\n" * 50)
    diagnostics = Diagnostics()
    for line in range(1, MAX_SHOWN + 3):
        diagnostics.error("bad-value", f"fault {line}", Span(file, line, 1, line, 2), help="mend it")
    diagnostics.error("unreadable", "all of it", Span(file, 0, 0, 0, 0))
    diagnostics.error("usage", "no place", None)
    text = render_all(diagnostics.items)
    assert text.count("help: mend it") == MAX_SHOWN
    assert text.endswith(
        "help: mend it\n\n"
        "error[bad-value] a.yaml:21:1: fault 21\nerror[bad-value] a.yaml:22:1: fault 22\n"
        "error[unreadable] a.yaml: all of it\nerror[usage]: no place\n\n24 errors"
    )
