"""Every fault of a user as the user sees it: the whole text, with code, place, caret, notes and help."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import casefile

CASES = casefile.cases()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_case(case: casefile.Case, bless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = casefile.answer(case, tmp_path)
    if bless:
        casefile.bless(case, found)
    assert found == (found if bless else case.expected)
    assert str(tmp_path) not in found, "files are named as the user named them"


def test_cases_say_what_they_show() -> None:
    assert [c.name for c in CASES if not c.title.endswith(".")] == []
