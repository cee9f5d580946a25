"""The canonical text of every level: golden at a small size, valid, and the same whenever it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.cli.main import main
from compiler.passes.library import spec_names
from compiler.source.text import SourceFile
from compiler.syntax.yaml import parse_yaml

GOLDEN = Path(__file__).parent / "dumps"
TINY = ["--set", "vocab=53", "--set", "context=13", "--set", "dim=12", "--set", "depth=2", "--set", "heads=3"]
LEVELS = ("graph", "typed", "program")


def dump(level: str, spec: str, *more: str) -> list[str]:
    return ["check", spec, *more, "--dump", level]


@pytest.mark.parametrize("level", LEVELS)
def test_gpt2(level: str, bless: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(dump(level, "gpt2", *TINY)) == 0
    found = capsys.readouterr().out
    path = GOLDEN / f"gpt2.{level}"
    if bless:
        path.write_bytes(found.encode())
    assert found == path.read_bytes().decode()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("spec", [*spec_names(), "llama:3.1-8b"])
def test_every_level_of_every_family_has_a_text(
    level: str, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(dump(level, spec)) == 0
    first = capsys.readouterr().out
    assert main(dump(level, spec)) == 0
    assert capsys.readouterr().out == first
    assert "0x" not in first and "object at" not in first, "no address of memory"
    if level != "program":
        parse_yaml(SourceFile(level, first))
