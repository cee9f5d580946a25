"""A new family costs YAML: no op of its own, and the page that says so is what the files say."""

from __future__ import annotations

import re

import pytest

from compiler.ops.table import OPS
from compiler.passes.library import spec_names
from tests import families_page
from tests.families_page import FAMILIES, LAST


def test_every_spec_has_a_family() -> None:
    listed = [spec for specs in FAMILIES.values() for spec in specs]
    assert sorted(listed) == sorted(spec_names())


def test_ops_are_few() -> None:
    assert len(OPS) < 50


#: What any mixture of experts is made of, and Mixtral is the only one.
EXPERTS = {"Mixtral": ["grouped_linear", "topk"]}


@pytest.mark.parametrize("family", LAST)
def test_a_family_has_no_op_of_its_own(family: str) -> None:
    assert families_page.own_ops(family) == EXPERTS.get(family, [])


def test_the_page_is_what_the_files_say() -> None:
    """But for the lines, which every edit changes: the page gives those of the day when it was written."""
    written = families_page.PAGE.read_text(encoding="utf-8")
    lines = re.compile(r"(?<=\| )\d+(?= \|)")
    assert lines.sub("n", written) == lines.sub("n", families_page.page())
