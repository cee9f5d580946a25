"""The linters are switched on: each limit that is set is also selected, and a violation of it is found."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.contract.clone import ROOT, clone

TOOLS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
LIMIT = TOOLS["ruff"]["lint"]["pylint"]

FAULTS = {
    "BLE001": "def f() -> None:\n    try:\n        f()\n    except Exception:\n        f()\n",
    "C901": "def f(x: int) -> None:\n"
    + "    if x:\n        x += 1\n" * TOOLS["ruff"]["lint"]["mccabe"]["max-complexity"],
    "D103": "def f() -> None: ...\n",
    "E501": "x = " + "1" * TOOLS["ruff"]["line-length"] + "\n",
    "PLR0913": f"def f({', '.join(f'a{i}: int' for i in range(LIMIT['max-args'] + 1))}) -> None: ...\n",
    "PLR0915": "def f(x: int) -> None:\n" + "    x += 1\n" * (LIMIT["max-statements"] + 1),
    "S102": "exec('x')\n",
    "S301": "import pickle\n\npickle.loads(b'')\n",
    "S307": "eval('x')\n",
    "S506": "import yaml\n\nyaml.load('x', Loader=yaml.Loader)\n",
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_found(code: str) -> None:
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--output-format",
        "json",
        "--stdin-filename",
        "compiler/x.py",
        "-",
    ]
    done = subprocess.run(command, cwd=ROOT, input=FAULTS[code], capture_output=True, text=True)
    assert code in {found["code"] for found in json.loads(done.stdout)}


def test_types_are_strict_where_users_are() -> None:
    assert TOOLS["mypy"]["strict"] is True
    loose = {o["module"] for o in TOOLS["mypy"]["overrides"] if isinstance(o["module"], str)}
    assert loose == {"compiler.backend.library", "tests.*"}


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("compiler/weights/plan.py", "def late() -> None:\n    import torch\n"),
        ("compiler/report/tree.py", "import jinja2\n"),
        ("compiler/syntax/expr.py", "import compiler.ir.dims\n"),
        ("compiler/passes/lower.py", "import compiler.backend.emit\n"),
        ("compiler/pipeline.py", "import runtime.loading\n"),
    ],
)
def test_a_wrong_import_is_found(file: str, line: str, tmp_path: Path) -> None:
    environment = clone(tmp_path)
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    for added, kept in (("", True), (line, False)):
        with (tmp_path / file).open("a", encoding="utf-8") as source:
            source.write(added)
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert (done.returncode == 0) is kept, done.stdout
