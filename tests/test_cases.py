"""Every fault of a user as the user sees it: the whole text, with code, place, caret, notes and help."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.diagnostics.codes import CODES
from tests import casefile, errors_page

CASES = casefile.cases()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_case(case: casefile.Case, bless: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = casefile.answer(case, tmp_path)
    if bless:
        casefile.bless(case, found)
    assert found == (found if bless else case.expected)
    assert found.startswith("error["), "a case shows a fault"
    assert str(tmp_path) not in found, "files are named as the user named them"


def test_cases_say_what_they_show() -> None:
    assert [c.name for c in CASES if not c.title.endswith(".")] == []


def test_every_code_has_a_case() -> None:
    assert set(CODES) - {c.code for c in CASES} == set()


def test_the_page_of_errors_is_up_to_date(bless: bool) -> None:
    if bless:
        errors_page.PAGE.write_text(errors_page.page(), encoding="utf-8")
    assert errors_page.PAGE.read_text(encoding="utf-8") == errors_page.page()
