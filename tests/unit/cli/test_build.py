"""build: the folder it leaves, the lock, and what it never overwrites."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import compiler
from compiler.cli.main import main
from compiler.passes.library import spec_names
from compiler.passes.lockfile import architecture, is_lock, lock_text
from compiler.pipeline import typed_graph
from compiler.source.paths import packaged
from compiler.source.text import SourceFile
from compiler.syntax.yaml import parse_yaml

SIZES = {"vocab": 53, "context": 13, "dim": 12, "depth": 3, "heads": 3}
TINY = [part for name, size in SIZES.items() for part in ("--set", f"{name}={size}")]


def build(out: Path, *more: str) -> int:
    return main(["build", "gpt2", *TINY, "--out", str(out), *more])


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_bytes().decode() for path in folder.iterdir()}


def lock(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "spec.lock.yaml").read_text())
    return found


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(tmp_path / "out") == 0
    printed = capsys.readouterr().out
    files = read(tmp_path / "out")
    assert sorted(files) == ["model.py", "report.txt", "spec.lock.yaml"]
    assert files["model.py"] == compiler.emit("gpt2", set=SIZES)
    assert printed.startswith(files["report.txt"]) and str(tmp_path / "out" / "model.py") in printed
    main(["show", "gpt2", *TINY])
    assert capsys.readouterr().out == files["report.txt"]


def test_the_lock_tells_what_was_built(tmp_path: Path) -> None:
    build(tmp_path / "out")
    found = lock(tmp_path / "out")
    files = read(tmp_path / "out")
    assert found["compiler"] == compiler.__version__ and found["spec"] == "gpt2"
    assert found["params"] == {**SIZES, "hidden": 48, "act": "gelu_tanh", "eps": 1e-05, "dropout": 0.1}
    assert found["parameters"] == sum(p.numel for p in compiler.compile("gpt2", set=SIZES).table.parameters)
    assert found["written"] == {name: sha256(files[name]) for name in ("model.py", "report.txt")}
    specs = packaged("specs")
    assert [entry["file"] for entry in found["files"]] == [
        "gpt2.yaml",
        "blocks/attention.yaml",
        "blocks/layers.yaml",
    ]
    for entry in found["files"]:
        assert entry["sha256"] == sha256((specs / entry["file"]).read_text())
    assert found["typed"]["nodes"]["h"]["repeat"] == 3
    assert found["typed"]["nodes"]["wte"]["gives"] == {"y": "float[B, T, 12]"}


@pytest.mark.parametrize("spec", [*spec_names(), "llama:3.1-8b"])
def test_the_lock_is_yaml_of_the_language(spec: str) -> None:
    text = lock_text(typed_graph(spec), {"model.py": "text"})
    (document,) = parse_yaml(SourceFile("spec.lock.yaml", text))
    assert is_lock(text) and "typed" in document
    assert yaml.safe_load(text)["architecture"] == architecture(typed_graph(spec)).strip('"')


def test_equal_builds_are_equal(tmp_path: Path) -> None:
    build(tmp_path / "a")
    build(tmp_path / "b")
    assert read(tmp_path / "a") == read(tmp_path / "b")


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """The packaged specs in a folder of the user's."""
    shutil.copytree(packaged("specs"), tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def hash_of(path: Path | str, **sizes: int) -> str:
    return architecture(typed_graph(path, set={**SIZES, **sizes}))


def test_the_architecture_does_not_depend_on_files_and_comments(specs: Path) -> None:
    for path in (specs / "gpt2.yaml", specs / "blocks" / "attention.yaml"):
        path.write_text("# a comment\n\n" + path.read_text())
    assert hash_of(specs / "gpt2.yaml") == hash_of("gpt2")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("gpt2.yaml", "act: gelu_tanh", "act: gelu"),
        ("gpt2.yaml", "eos: 50256}", "eos: 50255}"),
        ("gpt2.yaml", "{std: 0.02}", "{std: 0.03}"),
        ("gpt2.yaml", "  ln_f: ", "  ln_g: "),
        ("gpt2.yaml", ", share: {weight: wte.weight}", ""),
        ("blocks/layers.yaml", "r_1:  {op: add, in: [x, d_1]}", "r_1:  {op: add, in: [d_1, x]}"),
    ],
)
def test_the_architecture_depends_on_everything_else(specs: Path, file: str, old: str, new: str) -> None:
    text = (specs / file).read_text()
    assert old in text
    (specs / file).write_text(text.replace(old, new))
    assert hash_of(specs / "gpt2.yaml") != hash_of("gpt2")


@pytest.mark.parametrize("size", ["context", "depth", "heads"])
def test_the_architecture_depends_on_sizes(size: str) -> None:
    assert hash_of("gpt2", **{size: 2 * SIZES[size]}) != hash_of("gpt2")


def test_what_was_built_before_is_replaced(tmp_path: Path) -> None:
    assert build(tmp_path) == 0
    first = read(tmp_path)
    assert build(tmp_path, "--set", "act=relu") == 0
    second = read(tmp_path)
    assert {name for name in first if first[name] != second[name]} == {"model.py", "spec.lock.yaml"}
    assert build(tmp_path) == 0
    assert read(tmp_path) == first


@pytest.mark.parametrize("name", ["model.py", "report.txt", "spec.lock.yaml"])
@pytest.mark.parametrize("built", [False, True], ids=["new", "edited"])
def test_what_is_not_ours_stays(
    name: str, built: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if built:
        build(tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write("# my own work\n")
    before = read(tmp_path)
    assert build(tmp_path, "--set", "act=relu") == 1
    err = capsys.readouterr().err
    assert "error[not-writable]" in err and name in err and "--force" in err
    assert read(tmp_path) == before, "all or none"
    assert build(tmp_path, "--set", "act=relu", "--force") == 0
    assert sorted(read(tmp_path)) == ["model.py", "report.txt", "spec.lock.yaml"]


def test_the_default_folder_is_named_after_spec_and_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for source in ("bert", "bert:minilm-l6", str(packaged("specs") / "gpt2.yaml")):
        assert main(["build", source, "--set", "vocab=53", "--set", "depth=2"]) == 0
    assert sorted(p.name for p in (tmp_path / "build").iterdir()) == ["bert", "bert-minilm-l6", "gpt2"]


def test_a_fault_leaves_nothing(tmp_path: Path) -> None:
    assert build(tmp_path / "out", "--set", "act=nonsense") == 1
    assert not (tmp_path / "out").exists()
