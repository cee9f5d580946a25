"""The emitted texts as they stand: read them when they change."""

from __future__ import annotations

import inspect
import linecache
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import compiler
from compiler.passes.library import spec_names
from tests.emission.models import CASES, Case

GOLDEN = Path(__file__).with_name("golden")
STYLES = ("views", "einops")


def golden(case: Case, style: str) -> Path:
    return GOLDEN / (f"{case.name}.py" if style == "views" else f"{case.name}_{style}.py")


def test_every_shipped_spec_has_a_case() -> None:
    assert set(spec_names()) == {c.spec for c in CASES}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_text(case: Case, style: str, bless: bool) -> None:
    text = compiler.emit(case.source, set=case.set, style=style)
    path = golden(case, style)
    if bless:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_golden_text_is_left_over() -> None:
    assert {p.name for p in GOLDEN.glob("*")} == {golden(c, s).name for c in CASES for s in STYLES}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every text in both styles, tiny and at the size of each variant."""
    folder = tmp_path_factory.mktemp("texts")
    large = ["gpt2:xl", "llama:3.1-405b", "bert:large", "clip_vitb32:vitl14", *spec_names()]
    sources: list[tuple[str, dict[str, Any]]] = [(s, {}) for s in large]
    sources += [(c.source, dict(c.set)) for c in CASES]
    for number, (source, values) in enumerate(sources):
        for style in STYLES:
            text = compiler.emit(source, set=values, style=style)
            (folder / f"{number}_{style}.py").write_text(text, encoding="utf-8")
    return folder


def test_texts_are_formatted(texts: Path) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    assert ruff is not None, "ruff is part of the dev environment"
    command = [ruff, "format", "--isolated", "--diff", "--line-length", "110", str(texts)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    command = [ruff, "check", "--isolated", "--select", "E,F,W,I,A001", "--line-length", "110", str(texts)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_build_runs_the_very_text(case: Case) -> None:
    model = compiler.build(case.source, set=case.set, device="meta")
    text = compiler.emit(case.source, set=case.set)
    module = inspect.getmodule(type(model))
    assert module is not None and inspect.getsource(module) == text
    assert inspect.getsource(type(model)) in text
    linecache.clearcache()
    assert inspect.getsource(type(model)) in text
