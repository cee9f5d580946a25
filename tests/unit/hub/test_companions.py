"""The files beside a model's weights, where the weights are on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

import compiler
import runtime
from runtime.files import companion

SMALL = {"dim": 24, "heads": 3, "depth": 2, "vocab": 50}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint folder with one file of a tokenizer."""
    runtime.export(runtime.load("gpt2", weights=None, set=SMALL), tmp_path / "gpt2")
    (tmp_path / "gpt2" / "merges.txt").write_text("", encoding="utf-8")
    return tmp_path / "gpt2"


def test_of_a_folder_and_of_a_file_in_it(folder: Path) -> None:
    for source in (folder, str(folder), folder / "model.safetensors"):
        assert companion(source, "tokenizer.json", "merges.txt") == folder / "merges.txt"
        assert companion(source, "config.json", "merges.txt") == folder / "config.json"
        assert companion(source, "tokenizer.json") is None


def test_of_a_loaded_module(folder: Path) -> None:
    weights = folder / "model.safetensors"
    for model in (runtime.load(folder), runtime.load("gpt2", weights=weights, set=SMALL)):
        assert companion(model, "merges.txt") == folder / "merges.txt"
    assert companion(runtime.load(folder, weights=None), "merges.txt") == folder / "merges.txt"


def test_a_module_without_weights_has_none() -> None:
    assert companion(runtime.load("gpt2", weights=None, set=SMALL), "tokenizer.json") is None
    assert companion(compiler.build("gpt2", set=SMALL), "tokenizer.json") is None


def test_a_spec_that_is_published_nowhere_has_none() -> None:
    assert companion("char_gpt", "tokenizer.json") is None


def test_a_source_that_means_nothing_is_refused() -> None:
    with pytest.raises(compiler.CompileError, match="there is no spec `gpt3`"):
        companion("gpt3", "tokenizer.json")
