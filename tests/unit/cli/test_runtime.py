"""`python -m runtime` and `blockwright` as processes: what they import, what they offer, how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli.main import console, main

SMALL = ["--set", "dim=24", "--set", "heads=3", "--set", "depth=2", "--set", "vocab=50"]
HEAVY = ("torch", "numpy", "PIL", "tokenizers", "jinja2")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["export", "--help"], ["export", "gpt2"], ["generate", "gpt2"], ["nonsense"]]
)
def test_help_and_usage_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        f"import sys\nsys.argv[1:] = {arguments!r}\nfrom runtime.__main__ import console, main\n"
        "for run in (main, console):\n"
        "    try:\n        code = run()\n    except SystemExit as stop:\n        code = stop.code\n"
        "print(code, *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    code, *modules = done.stderr.splitlines()[-1].split()
    assert code == ("0" if "--help" in arguments else "2")
    assert set(modules) & set(HEAVY) == set()


def test_the_console_script_has_the_verbs_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    for run, verbs in ((main, ["export", "verify"]), (console, ["export", "verify", "show", "emit"])):
        with pytest.raises(SystemExit):
            run(["--help"])
        shown = capsys.readouterr().out
        assert all(f"\n    {verb} " in shown for verb in verbs)


def test_export_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["export", "gpt2", "--weights", "none", *SMALL, "-o", out]) == 0
    said = capsys.readouterr()
    assert "untrained" in said.err and f"wrote {out}/model.safetensors" in said.out
    assert main(["verify", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lost"] == []
    (tmp_path / "out" / "config.json").write_text("{}")
    assert main(["export", "gpt2", "--weights", "none", *SMALL, "-o", out]) == 1
    assert "error[not-writable]" in capsys.readouterr().err


def test_a_spec_without_weights_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "starter_rotary", "-o", "nowhere"]) == 1
    said = capsys.readouterr()
    assert "error[not-found]" in said.err and "weights" in said.err and said.out == ""
