"""The wheel: what it holds, and that it works where nothing else of this project is."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import compiler
from tests.contract.clone import ROOT, clone, files

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DATA = [n for n in files() if n.startswith(("recipes/", "specs/", "weightmaps/"))]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a fresh clone."""
    folder = tmp_path_factory.mktemp("wheel")
    clone(folder / "tree")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(folder), str(folder / "tree")], check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    """A folder in which the wheel is installed."""
    target = wheel.parent / "site"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(command, check=True)
    return target


def run(site: Path, folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with the installed wheel before anything else on the import path."""
    environment = {k: v for k, v in os.environ.items() if k != "BLOCKWRIGHT_PATH"} | {"PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert wheel.name.startswith(f"blockwright-{compiler.__version__}-py3-none-any")
    assert {n.split("/")[0].removesuffix(".dist-info") for n in names} == {
        "compiler",
        "runtime",
        f"blockwright-{compiler.__version__}",
    }
    code = {n for n in files() if n.startswith(("compiler/", "runtime/"))}
    data = {f"compiler/data/{n}" for n in DATA}
    assert {n for n in names if ".dist-info/" not in n} == code | data


def test_the_commands_work_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    for arguments in (["list"], ["check", "gpt2"], ["emit", "gpt2"], ["show", "clip_vitb32"]):
        done = run(site, tmp_path, sys.executable, "-m", "compiler", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout
    emitted = run(site, tmp_path, sys.executable, "-m", "compiler", "emit", "gpt2").stdout
    assert emitted == compiler.emit("gpt2")
    assert list(tmp_path.iterdir()) == []


def test_the_packages_are_those_of_the_wheel(site: Path, tmp_path: Path) -> None:
    code = "import compiler, runtime; print(compiler.__file__); print(runtime.__file__)"
    done = run(site, tmp_path, sys.executable, "-c", code)
    assert done.stdout.split() == [str(site / name / "__init__.py") for name in ("compiler", "runtime")]


def test_loading_works_from_the_wheel(site: Path, tmp_path: Path) -> None:
    code = (
        "import compiler, runtime\n"
        "model = runtime.load('gpt2', weights=None, set={'dim': 24, 'heads': 3, 'depth': 2, 'vocab': 50})\n"
        "runtime.export(model, 'out')\n"
        "runtime.load('out')\n"
    )
    done = run(site, tmp_path, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


def test_a_file_of_the_users_own_comes_first_only_with_m(site: Path, tmp_path: Path) -> None:
    """As the README says: the console script and -P never see it."""
    for name in ("runtime.py", "compiler.py"):
        (tmp_path / name).write_text("print('mine')\n", encoding="utf-8")
    assert (
        run(site, tmp_path, site / "bin" / "blockwright", "--version").stdout == f"{compiler.__version__}\n"
    )
    assert "mine" not in run(site, tmp_path, sys.executable, "-P", "-m", "runtime", "--help").stdout
    assert run(site, tmp_path, sys.executable, "-m", "runtime", "--help").stdout == "mine\n"


def test_dependencies_are_what_is_imported() -> None:
    assert imported("compiler/", "runtime/") == declared() | declared("gguf", "train", "vision")


def test_what_tests_import_is_declared() -> None:
    assert imported("tests/", "bench/") - declared() - declared("gguf", "train", "vision", "test") == set()


def test_what_tests_run_with_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {requirement(line) for line in lines if not line.startswith("#")}
    assert declared() | declared("gguf", "train", "vision", "test", "dev") == pinned | {"blockwright"}


def imported(*folders: str) -> set[str]:
    """The distributions that the files of some folders import."""
    return {name for f in files() if f.startswith(folders) for name in third_party(f)}


def declared(*extras: str) -> set[str]:
    """What the project depends on, or what its extras ask for."""
    project = PROJECT["project"]
    lists = [project["optional-dependencies"][e] for e in extras] or [project["dependencies"]]
    return {requirement(line) for lines in lists for line in lines}


def third_party(name: str) -> set[str]:
    """The distributions that a file imports, and those that text it writes imports."""
    if not name.endswith(".py"):
        return set()
    text = (ROOT / name).read_text(encoding="utf-8")
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                found |= {n.name.split(".")[0] for n in names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module.split(".")[0])
    found |= {"einops"} if "from einops import" in text else set()
    known = {"PIL": "pillow", "yaml": "pyyaml", "pydantic_core": "pydantic", "open_clip": "open-clip-torch"}
    ours = {"compiler", "runtime", "tests", "bench", "__future__"}
    return {known.get(n, n) for n in found - ours - sys.stdlib_module_names}


def requirement(line: str) -> str:
    """The name in `name[extra]>=1,<2`."""
    return line.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip().lower()
