"""Tasks as processes: how they end when they are interrupted, not read, or fail, and what they say then."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import runtime
from runtime.cli.main import main
from runtime.generation import api
from tests.tasks.tokenizers import WORDS, save_tokenizer

TINY = ["--weights", "none", "--set", "dim=24", "--set", "heads=3", "--set", "depth=1", "--set", "vocab=50"]
GENERATE = ["generate", "gpt2", *TINY, "--tokens", "1,2,3"]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "runtime", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_interrupt_is_no_fault() -> None:
    with start(*GENERATE, "--max-new-tokens", "1000", "--set", "hidden=20000") as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("note: untrained")  # it is at work
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def test_a_reader_that_goes_away_is_no_fault() -> None:
    with start(*GENERATE, "--json") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said.count("\n")) == (141, 1) and said.startswith("note: untrained")


def test_a_fault_of_ours_is_told_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(api, "_Run", broken)
    assert main(GENERATE) == 3
    said = capsys.readouterr()
    assert said.out == "" and "internal error: ZeroDivisionError: planted" in said.err
    assert "BLOCKWRIGHT_DEBUG=1" in said.err and "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["generate", "gpt2"], 2, "give prompts or --tokens"),
        (["generate", "gpt2", "--tokens", "a"], 2, "invalid ids value: 'a'"),
        (["generate", "gpt2", *TINY, "--tokens", "1", "--top-k", "3"], 2, "give a temperature above 0"),
        (["generate", "gpt2", *TINY, "hello"], 1, "give token ids: --tokens 1,2,3"),
        (["generate", "gpt3", "hello"], 1, "did you mean `gpt2`"),
        (["translate", "gpt2", "hello"], 1, "what works with `gpt2`: `generate`, `chat`"),
        (["embed", "vit_mae", "text"], 1, "what works with `vit_mae`: `reconstruct`"),
        (["generate", "gpt2", *TINY, "--tokens", "77"], 2, "77"),
    ],
)
def test_faults_of_the_user(
    arguments: list[str], code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main(arguments)
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        found = stop.code
    said = capsys.readouterr()
    assert (found, said.out) == (code, "") and expected in said.err and "Traceback" not in said.err


def test_a_tokenizer_of_another_model_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tokenizer(tmp_path)
    model = ["mlm", "--weights", "none", "--set", "vocab=20", "--set", "dim=24", "--tokenizer", str(tmp_path)]
    assert main(["fill-mask", *model, "a [MASK] dog"]) == 0
    capsys.readouterr()
    assert main(["fill-mask", *model, f"a [MASK] {WORDS[-1]}"]) == 1
    said = capsys.readouterr()
    assert f"({WORDS[-1]!r}), and `mlm` knows 20 tokens" in said.err and said.out == ""


def test_lines_come_from_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tokenizer(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a [MASK] dog\n\nthe [MASK]\n"))
    model = ["mlm", *TINY, "--tokenizer", str(tmp_path)]
    assert main(["fill-mask", *model, "-", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["text"] for row in answer["results"]] == ["a [MASK] dog", "the [MASK]"]


def test_a_prompt_comes_from_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_tokenizer(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a dog\n"))
    assert main(["generate", "gpt2", *TINY, "--tokenizer", str(tmp_path), "-", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["results"]
    assert answer["prompt"] == "a dog"


def test_text_appears_on_a_terminal_as_it_is_written(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    leader, follower = pty.openpty()
    model = ["gpt2", *TINY[:-1], f"vocab={len(WORDS)}", "--set", "io.eos=null", "--tokenizer", str(tmp_path)]
    choice = ["--max-new-tokens", "60", "--temperature", "1", "--seed", "0"]
    command = [sys.executable, "-m", "runtime", "generate", *model, "a dog", *choice]
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.DEVNULL, stdin=follower) as process:
        os.close(follower)
        chunks = list(_chunks(leader))
        assert process.wait() == 0
    text = b"".join(chunks).decode()
    assert text.startswith("a dog") and text.endswith("\r\n")
    assert len(chunks) > 2  # a slow reader finds several pieces at once


def _chunks(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            found = os.read(terminal, 1024)
        except OSError:  # the other end is closed
            return
        if not found:
            return
        yield found


def test_ids_in_and_ids_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A batch of unequal prompts is what each of them is alone."""
    answers = []
    for tokens in (["1,2,3", "4,5"], ["1,2,3"], ["4,5"]):
        given = [part for row in tokens for part in ("--tokens", row)]
        arguments = [
            "generate",
            "gpt2",
            *TINY,
            *given,
            "--max-new-tokens",
            "4",
            "--json",
            "--set",
            "io.eos=null",
        ]
        torch.manual_seed(0)
        assert main(arguments) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert all(answer["untrained"] and answer["model"] == "gpt2" for answer in answers)
    both, *alone = ([row["tokens"] for row in answer["results"]] for answer in answers)
    assert both == [row for rows in alone for row in rows] and {len(row) for row in both} == {4}


def test_options_of_speed_change_no_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"dim": 24, "heads": 3, "depth": 2, "vocab": 50}
    runtime.export(runtime.load("gpt2", weights=None, set=sizes), tmp_path)
    given = ["generate", str(tmp_path), "--tokens", "1,2,3", "--set", "io.eos=null", "--json"]
    answers = []
    for options in ([], ["--optimize", "fuse"], ["--optimize", "fuse", "--layout", "decode"]):
        assert main([*given, *options]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0]["results"] and answers[0] == answers[1] == answers[2]
    assert main([*given, "--optimize", "fus"]) == 2 and "did you mean `fuse`" in capsys.readouterr().err
