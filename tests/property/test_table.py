"""The contract of the table of ops."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compiler.ops.table import OPS
from compiler.ops.text.styles import STYLES

FEWER_THAN = 50

#: Made by `hoist` in front of attention and rotate, and proved with them.
PREPARED = {"attention_mask", "rotation"}
TESTS = "\n".join(p.read_text(encoding="utf-8") for p in Path(__file__).parent.glob("test_*.py"))


def test_every_op_has_a_text_in_every_style() -> None:
    for texts in STYLES.values():
        assert set(texts) == set(OPS)


def test_ops_stay_few() -> None:
    assert len(OPS) < FEWER_THAN


@pytest.mark.parametrize("name", OPS)
def test_an_op_says_what_it_does(name: str) -> None:
    op = OPS[name]
    assert op.name == name and re.fullmatch(r"[a-z_]+", name)
    assert len(op.summary.split()) >= 3 and op.summary.endswith((".", ")."))
    names = [a.name for a in op.attrs]
    assert len(set(names)) == len(names)
    assert not any(a.required and a.default is not None for a in op.attrs)


@pytest.mark.parametrize("name", sorted(set(OPS) - PREPARED))
def test_an_op_is_proved_here(name: str) -> None:
    """Each op stands in a property test of its own, beside the random declarations."""
    assert re.search(rf"op: {name}\b|\"{name}\"", TESTS)
