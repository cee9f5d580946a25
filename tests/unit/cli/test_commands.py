"""The verbs as a user meets them: what stands on stdout, what on stderr, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import compiler
from compiler.cli.main import main
from compiler.passes.library import spec_names
from compiler.source.paths import SEARCH_VARIABLE

TINY = ["--set", "vocab=53", "--set", "context=13", "--set", "dim=12", "--set", "depth=3", "--set", "heads=3"]
BROKEN = (
    'spec: broken\ninputs: {x: "float[B, 5]"}\nnodes:\n  a: {op: linear, in: y, out: 3}\noutputs: {a: a}\n'
)
ORPHAN = 'spec: orphan\ninputs: {x: "float[B, 5]"}\nnodes:\n  a: {op: nonsense, in: x}\noutputs: {a: a}\n'


def parameters(source: str) -> int:
    return sum(p.numel for p in compiler.compile(source).table.parameters)


def test_list_has_a_row_per_spec_and_variant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    names = [row["name"] for row in rows]
    assert names == sorted(names, key=lambda n: spec_names().index(n.partition(":")[0]))
    assert {"gpt2", "gpt2:medium", "gpt2:xl", "bert:minilm-l6", "clip_vitb32", "llama:3.1-405b"} <= set(names)
    by_name = {row["name"]: row for row in rows}
    for name in ("gpt2", "bert:minilm-l6", "llama:smollm2-135m"):
        assert by_name[name]["parameters"] == parameters(name)
    gpt2 = by_name["gpt2"]
    assert gpt2["task"] == "text-generation" and gpt2["source"].startswith("Radford et al. 2019")
    assert gpt2["weights"]["dialects"] == ["hf"]
    assert gpt2["weights"]["repository"] == "openai-community/gpt2"
    assert by_name["gpt2:xl"]["weights"]["repository"] != gpt2["weights"]["repository"]
    assert by_name["clip_vitb32"]["weights"]["dialects"] == ["hf", "openai"]
    assert by_name["simple_vit"]["weights"]["dialects"] == [], "its parent's map leaves tensors out"


def test_list_as_text_tells_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *(row["name"] for row in rows)]
    for line, row in zip(lines[1:], rows, strict=True):
        assert f"{row['parameters']:,}" in line.split() and line.endswith(row["source"])


def test_list_shows_a_users_specs_and_the_faults_of_broken_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "broken.yaml").write_text(BROKEN)
    (tmp_path / "specs" / "mine.yaml").write_text(BROKEN.replace("in: y", "in: x").replace("broken", "mine"))
    (tmp_path / "specs" / "parts.yaml").write_text('block: part\ninputs: {x: "float[B]"}\noutputs: {y: x}\n')
    monkeypatch.setenv(SEARCH_VARIABLE, str(tmp_path))
    assert main(["list"]) == 1
    out, err = capsys.readouterr()
    assert "mine " in out and "gpt2:xl " in out and "broken" not in out and "parts" not in out
    assert "unknown-ref" in err and "broken.yaml:4:" in err and "1 error" in err


@pytest.mark.parametrize(
    ("spec", "total"), [("gpt2", "124,439,808"), ("clip_vitb32", "151,277,313"), ("gpt2:xl", "1,557,611,200")]
)
def test_show_counts_parameters(spec: str, total: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", spec]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("parameters ")]
    assert line.split()[1] == total


def test_show_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gpt2", *TINY, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == sum(node["parameters"] for node in found["nodes"])
    assert found["inputs"] == {"tokens": "int[B, T]", "mask": "bool[B, K]?", "labels": "int[B, T]?"}
    assert found["outputs"] == {"logits": "float[B, T, 53]", "loss": "float[]"}
    assert found["ties"] == {"lm_head.weight": "wte.weight"}
    layers = next(node for node in found["nodes"] if node["name"] == "h")
    assert layers["times"] == 3
    assert layers["parameters"] == 3 * sum(node["parameters"] for node in layers["nodes"])


def test_a_setting_reaches_the_spec_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "gpt2", *TINY]) == 0
    assert main(["emit", "gpt2", *TINY]) == 0
    assert main(["check", "gpt2", "--set", "heads=7"]) == 1
    out, err = capsys.readouterr()
    assert "nn.Embedding(53, 12)" in out and err.startswith("error[") and "768" in err


def test_check_tells_all_faults_of_all_specs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(BROKEN)
    (tmp_path / "b.yaml").write_text(ORPHAN)
    arguments = ["check", str(tmp_path / "a.yaml"), "gpt2", str(tmp_path / "b.yaml"), "--verify"]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == f"ok gpt2 ({parameters('gpt2'):,} parameters)\n"
    assert "a.yaml:4:" in err and "b.yaml:4:" in err and "unknown-op" in err
    assert main([*arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [row["ok"] for row in found["specs"]] == [False, True, False]
    assert {d["code"] for d in found["diagnostics"]} >= {"unknown-ref", "unknown-op"} and err == ""


def test_a_fault_that_specs_share_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(BROKEN)
    assert main(["check", str(tmp_path / "a.yaml"), str(tmp_path / "a.yaml")]) == 1
    assert capsys.readouterr().err.endswith("1 error\n")


def test_faults_as_data_stay_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gpt3", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and json.loads(err)[0]["code"] == "not-found"


@pytest.mark.parametrize("arguments", [["show", "gpt2", "--set", "heads"], ["show", "gpt2", "--set", "=3"]])
def test_a_malformed_setting_is_a_fault_of_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "error[usage]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["shwo"], ["show"], ["check", "gpt2", "--dump", "ast"], ["weights"]]
)
def test_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_the_same_text_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new" / "model.py"
    assert main(["emit", "gpt2", *TINY]) == 0
    printed = capsys.readouterr().out
    assert main(["emit", "gpt2", *TINY, "-o", str(target)]) == 0
    assert target.read_bytes().decode() == printed
    assert capsys.readouterr().out == ""
    assert main(["emit", "gpt2", *TINY, "-o", str(target)]) == 0, "the very same text may be written again"


def test_a_style_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emit", "gpt2", *TINY, "--style", "einops"]) == 0
    assert "rearrange(" in capsys.readouterr().out
    assert main(["emit", "gpt2", *TINY]) == 0
    assert "rearrange(" not in capsys.readouterr().out


def test_emit_keeps_what_it_did_not_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "model.py"
    target.write_text("my own work\n")
    assert main(["emit", "gpt2", *TINY, "-o", str(target)]) == 1
    assert "error[not-writable]" in capsys.readouterr().err
    assert target.read_text() == "my own work\n"
    assert main(["emit", "gpt2", *TINY, "-o", str(target), "--force"]) == 0
    assert target.read_text().startswith('"""')


def test_nothing_is_written_for_a_spec_at_fault(tmp_path: Path) -> None:
    target = tmp_path / "model.py"
    assert main(["emit", "gpt2", "--set", "heads=7", "-o", str(target)]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_the_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["emit", "gpt2", *TINY, "-o", str(tmp_path / "file" / "model.py")]) == 1
    assert "error[not-writable]" in capsys.readouterr().err


def test_a_fault_of_ours_says_what_to_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(*arguments: object) -> str:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("compiler.cli.show.report", crash)
    assert main(["show", "gpt2"]) == 3
    err = capsys.readouterr().err
    assert err.startswith("internal error: ZeroDivisionError: a bug\nat test_commands.py:")
    assert f"version {compiler.__version__}, Python" in err and "Traceback" not in err
    assert main(["--debug", "show", "gpt2"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*arguments: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("compiler.cli.show.report", interrupt)
    assert main(["show", "gpt2"]) == 130
    assert capsys.readouterr() == ("", "")


HOSTILE = """\
spec: hostile
summary: "\\e[31mred\\u202e\\n\\nline"
source: "\\x9b2J"
task: "\\a"
params: {act: "\\e]0;title\\a"}
inputs: {x: "float[B, 5]"}
nodes: {a: {op: linear, in: x, out: "=3 if act != 'x' else 4"}}
outputs: {a: a}
"""


@pytest.mark.parametrize(
    "arguments", [["show"], ["list"], ["check", "--dump", "typed"], ["build", "--out", "out"]]
)
def test_no_text_of_a_spec_moves_a_terminal(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hostile.yaml").write_text(HOSTILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(SEARCH_VARIABLE, str(tmp_path))
    source = [] if arguments == ["list"] else ["hostile"]
    assert main([arguments[0], *source, *arguments[1:]]) == 0
    written = [path.read_text() for path in (tmp_path / "out").glob("*")]
    for text in (*capsys.readouterr(), *written):
        assert all(c.isprintable() or c == "\n" for c in text)
