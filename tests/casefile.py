"""Golden cases: one file holds the user's files, what is run on them, and the whole text of the answer.

    # One sentence: what the case shows.
    run: compile demo.yaml heads=3
    === demo.yaml
    spec: demo
    ...
    === model.safetensors: 24
    {"a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}
    === expect
    error[...]: ...

`run` is left out where it is `compile` of the first file. A file whose name is followed by a number is a
safetensors file of that many zero bytes behind its header, one whose name is followed by an encoding is
written in it. In the answer, packaged files are named from the folder that holds `specs`.
"""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import compiler
from compiler.diagnostics.diagnostic import CompileError
from compiler.passes.overrides import parse_settings
from compiler.source.paths import packaged
from compiler.weights.config import recognise
from compiler.weights.library import Library
from compiler.weights.plan import plan, plan_export
from compiler.weights.readers.detect import read_header

FOLDER = Path(__file__).parent / "cases"
_MARK = "=== "
_EXPECT = f"{_MARK}expect\n"


@dataclass(frozen=True)
class Case:
    """A case as it stands in its file."""

    path: Path
    title: str
    run: tuple[str, ...]
    files: tuple[tuple[str, str], ...]  # head line -> text
    expected: str

    @property
    def name(self) -> str:
        return str(self.path.relative_to(FOLDER).with_suffix(""))

    @property
    def code(self) -> str:
        """The code of the first diagnostic."""
        return self.expected.partition("[")[2].partition("]")[0]


def cases() -> list[Case]:
    return [read(path) for path in sorted(FOLDER.rglob("*.case"))]


def read(path: Path) -> Case:
    text = path.read_bytes().decode()
    body, _, expected = text.partition(_EXPECT)
    head, *parts = body.split(f"\n{_MARK}")
    lines = head.splitlines()
    title = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))
    heads = [part.partition("\n") for part in parts]
    files = tuple((name, text.removesuffix("\n") + "\n") for name, _, text in heads)
    runs = [line.removeprefix("run: ") for line in lines if line.startswith("run: ")]
    run = shlex.split(runs[0]) if runs else ["compile", files[0][0]]
    return Case(path, title, tuple(run), files, expected)


def bless(case: Case, answer: str) -> None:
    """Write the answer as what the case expects."""
    body, _, _ = case.path.read_bytes().decode().partition(_EXPECT)
    case.path.write_bytes((body.rstrip("\n") + "\n" + _EXPECT + answer).encode())


def answer(case: Case, folder: Path) -> str:
    """What the user sees. The process stands in `folder`, which is empty."""
    for name, data in _contents(case):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    verb, *arguments = case.run
    try:
        _VERBS[verb](arguments)
    except CompileError as error:
        return f"{error}\n".replace(f"{packaged('specs').parent}/", "")
    return "no errors\n"


def _contents(case: Case) -> Iterator[tuple[str, bytes]]:
    for head, text in case.files:
        name, _, form = head.partition(": ")
        if form.isdigit():
            header = text.strip().encode()
            yield name, len(header).to_bytes(8, "little") + header + bytes(int(form))
        else:
            yield name, text.encode(form or "utf-8")


def _compile(arguments: list[str]) -> None:
    source, *settings = arguments
    compiler.compile(source, set=parse_settings(settings))


def _plan(arguments: list[str]) -> None:
    source, map_path, checkpoint = arguments
    table = compiler.compile(source).table
    plan(Library.standard().load(map_path), table, read_header(Path(checkpoint)))


def _export(arguments: list[str]) -> None:
    source, map_path = arguments
    plan_export(Library.standard().load(map_path), compiler.compile(source).table)


def _recognise(arguments: list[str]) -> None:
    source, maps = arguments
    recognise(Path(source), Library((Path(maps),)))


def _write(arguments: list[str]) -> None:
    from runtime.checkpoint.staging import staged

    (folder,) = arguments
    with staged(Path(folder), ["notes.txt"], 0, force=False):
        raise AssertionError("a foreign file would be overwritten")


def _load(arguments: list[str]) -> None:
    """Without a network, and with an empty cache."""
    import runtime

    (source,) = arguments
    with mock.patch.multiple("huggingface_hub.constants", HF_HUB_OFFLINE=True, HF_HUB_CACHE="cache"):
        runtime.load(source)


def _task(arguments: list[str]) -> None:
    from runtime.tasks.abilities import require
    from runtime.tasks.signature import signature_of

    task, source = arguments
    require(signature_of(compiler.compile(source)), task)


def _train(arguments: list[str]) -> None:
    from runtime.training.run import train

    recipe, *settings = arguments
    train(recipe, "run", set=parse_settings(settings), log=io.StringIO())


_VERBS = {
    "compile": _compile,
    "plan": _plan,
    "export": _export,
    "recognise": _recognise,
    "write": _write,
    "load": _load,
    "task": _task,
    "train": _train,
}
