"""What only a whole process shows: modules that stay out, and a reader that goes away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import compiler

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "sympy", "networkx", "jinja2", "numpy", "asyncio")


def imported(arguments: list[str]) -> tuple[int, set[str]]:
    """The exit code of a command, and the modules that its process holds at the end."""
    program = (
        "import sys\nfrom compiler.__main__ import main\n"
        f"sys.argv[1:] = {arguments!r}\ncode = main()\n"
        "print(code, *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    code, *modules = done.stderr.split()
    return int(code), set(modules)


@pytest.mark.parametrize("arguments", [["show", "gpt2"], ["check", "clip_vitb32"], ["list"], ["schema"]])
def test_questions_need_nothing_heavy(arguments: list[str]) -> None:
    code, modules = imported(arguments)
    assert code == 0 and "pydantic" in modules
    assert modules & set(HEAVY) == set()


def test_what_a_verb_does_not_need_stays_out() -> None:
    _, modules = imported(["show", "gpt2"])
    assert {
        "compiler.syntax.weightmap",
        "compiler.weights.readers",
        "compiler.backend.emit",
    } & modules == set()


def test_readers_do_not_pull_the_pipeline() -> None:
    program = "import sys, compiler.weights.readers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert "compiler.weights.readers.detect" in modules
    assert modules & {"compiler.pipeline", "compiler.passes.resolve", "torch"} == set()


def test_a_reader_that_goes_away_is_no_fault() -> None:
    command = [sys.executable, "-m", "compiler", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_the_version() -> None:
    command = [sys.executable, "-m", "compiler", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == compiler.__version__
