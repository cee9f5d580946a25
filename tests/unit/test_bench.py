"""The bench's own arithmetic; nothing here looks at a clock."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.table import AT_LEAST, AT_MOST, Row, as_json, markdown
from bench.timing import interleaved, ratio, told

SLOW = Row("this", "that", 1.2, AT_MOST, 1.0)
FAST = Row("that", "this", 1.2, AT_LEAST, 1.1, told="a 1 ms")


def test_a_bar_has_a_direction() -> None:
    assert not SLOW.holds and FAST.holds
    assert FAST.cells() == ["that", "this", "1.20 x", ">= 1.1 x", "yes", "a 1 ms"]


def test_the_table_and_the_data_say_the_same() -> None:
    lines = markdown([SLOW, FAST], 3).splitlines()
    assert (
        ", 3 threads; torch " in lines[0]
        and lines[-1] == "| that | this | 1.20 x | >= 1.1 x | yes | a 1 ms |"
    )
    data = json.loads(as_json([SLOW, FAST], 3))
    assert [row["holds"] for row in data["rows"]] == [False, True] and data["threads"] == 3


def test_ratios_are_of_rounds() -> None:
    """The second round was disturbed, on both sides."""
    times = {"a": [1.0, 9.0, 1.1], "b": [2.0, 18.0, 2.0]}
    assert ratio(times, "a", "b") == 0.5
    assert told(times, ("a", "b")) == "a 1100.0 ms, b 2000.0 ms"


def test_calls_take_turns_after_a_round_that_does_not_count() -> None:
    called: list[str] = []
    times = interleaved({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 2)
    assert called == ["a", "b"] * 3 and {name: len(each) for name, each in times.items()} == {"a": 2, "b": 2}


def test_a_group_that_is_none_is_named() -> None:
    done = subprocess.run([sys.executable, "-m", "bench", "decod"], capture_output=True, text=True)
    assert done.returncode == 2 and "no group is called decod; there are compile, load" in done.stderr
