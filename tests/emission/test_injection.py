"""Hostile strings in every place of every shipped spec: a located error, or other constants in the same text.

One string of one file is replaced at a time, values and keys alike. What comes out as text is built under a
hook that sees every file opened for writing, process, socket and suspicious code object.
"""

from __future__ import annotations

import ast
import json
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import compiler
from compiler.backend.build import load_text
from compiler.backend.emit import emit
from compiler.diagnostics.diagnostic import CompileError
from compiler.passes.library import read_source, spec_names
from compiler.source.paths import packaged
from compiler.source.text import Span
from compiler.syntax.yaml import Located, Map, Seq, parse_yaml

PAYLOADS = (
    "__import__('os').system('x')",
    "=__import__('os').system('x')",
    "x; import os",
    "x)\n\nimport os\nos.system('x')  # (",
    "=x)\nimport os",
    '"""\nimport os\n"""',
    '"""',
    "'''",
    '\\"""\nimport os\n\\"""',
    '"',
    "'",
    "\\",
    "\\\n",
    'ends in a quote"',
    "nul\0",
    "\n",
    "\r\nimport os\r\n",
    "\u2028import os\u2029",
    "\x0bimport os\x0c",
    "\x85import os",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "{# gone #}",
    "{self.__class__}",
    "%s %(x)s",
    "{x!r}",
    "# type: ignore",
    "  # comment\nimport os",
    "\uff53\uff45\uff4c\uff46",
    "\uff49\uff4d\uff50\uff4f\uff52\uff54",
    "\u017felf",
    "\U0001d422\U0001d427",
    "\u0440\u0430\u0441\u0435",
    "\u202eimport os",
    "\ud7ff\ue000",
    "\U0001f600 \u0301",
    "class",
    "lambda: 0",
    "None",
    "__class__",
    "__init__",
    "a.b.c",
    "a" * 65,
    "a" * 20000,
    "a " * 5000,
    "=" * 100,
    "=" + "(" * 2000,
    "=" + "1 + " * 500 + "1",
    "=9 ** 9 ** 9 ** 9",
    "=[0] * 10 ** 9",
    "B T (" + "a " * 500 + ") -> B",
    "float[" + "B, " * 500 + "T]",
    "$(touch x)",
    "../../../etc/passwd",
    "",
    " ",
    "\t",
)


#: Names of no code that emitted text comes to; torch and namedtuple execute strings of their own.
DANGEROUS = {"os", "system", "__import__", "eval", "exec", "open", "__class__"}


@dataclass(frozen=True)
class Place:
    """A key or value of a shipped file, and a spec that reads the file."""

    spec: str
    file: Path
    span: Span


def _spans(node: object) -> Iterator[Span]:
    match node:
        case Located():
            yield node.span
        case Map():
            for key, value in node.items():
                yield key.span
                yield from _spans(value)
        case Seq():
            for value in node:
                yield from _spans(value)
        case _:
            raise AssertionError(node)


def _places() -> list[Place]:
    specs = packaged("specs")
    out: list[Place] = []
    for spec in spec_names():
        for file in (specs / f"{spec}.yaml", *sorted((specs / "blocks").glob("*.yaml"))):
            if file.parent != specs and spec not in ("gpt2", "llama", "clip_vitb32", "t5"):
                continue
            for document in parse_yaml(read_source(file)):
                out += [Place(spec, file.relative_to(specs), span) for span in _spans(document)]
    return out


def _replaced(text: str, span: Span, payload: str) -> str:
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    start = starts[span.line - 1] + span.column - 1
    end = starts[span.end_line - 1] + span.end_column - 1
    return text[:start] + json.dumps(payload) + text[end:]


def _outline(text: str) -> str:
    """The syntax tree but for its constants."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            node.value = 0
    return ast.dump(tree)


class Sentinel:
    """What Python's audit hook saw while it was on."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open" and not isinstance(arguments[1], str | None):
            return
        writes = event == "open" and any(c in str(arguments[1] or "r") for c in "wax+")
        code = event == "exec" and bool(DANGEROUS & set(getattr(arguments[0], "co_names", ())))
        if writes or code or event.split(".")[0] in ("os", "subprocess", "socket", "shutil", "ctypes", "pty"):
            if event not in ("os.listdir", "os.scandir"):
                self.seen.append(f"{event} {arguments!r}")


@pytest.fixture(scope="module")
def sentinel() -> Sentinel:
    return Sentinel()


def test_the_sentinel_sees(sentinel: Sentinel, tmp_path: Path) -> None:
    sentinel.seen.clear()
    sentinel.on = True
    try:
        (tmp_path / "f").write_text("x")
        exec("eval")  # noqa: S102
    finally:
        sentinel.on = False
    assert [s.split()[0] for s in sentinel.seen] == ["open", "exec"]


class Sweep:
    """Shipped specs in a folder of their own, one place of one file changed at a time."""

    def __init__(self, folder: Path, sentinel: Sentinel) -> None:
        self.folder = folder / "specs"
        shutil.copytree(packaged("specs"), self.folder)
        self.sentinel = sentinel
        self.outlines = {s: _outline(compiler.emit(self.folder / f"{s}.yaml")) for s in spec_names()}
        self.texts = 0
        self.errors = 0

    def try_(self, place: Place, payload: str) -> None:
        path = self.folder / place.file
        plain = path.read_bytes()
        path.write_bytes(_replaced(plain.decode(), place.span, payload).encode())
        try:
            self._judge(place, payload)
        finally:
            path.write_bytes(plain)

    def _judge(self, place: Place, payload: str) -> None:
        where = f"{place.span}: {payload[:60]!r}"
        self.sentinel.seen.clear()
        self.sentinel.on = True
        try:
            program = compiler.compile(self.folder / f"{place.spec}.yaml")
            text = emit(program)
            load_text(text, program)
        except CompileError as error:
            self.errors += 1
            assert error.diagnostics, where
            return
        finally:
            self.sentinel.on = False
        self.texts += 1
        assert self.sentinel.seen == [], where
        assert _outline(text) == self.outlines[place.spec], where


@pytest.fixture
def sweep(tmp_path: Path, sentinel: Sentinel) -> Sweep:
    return Sweep(tmp_path, sentinel)


def test_a_sample(sweep: Sweep) -> None:
    """Every payload, and as many places as some seconds allow; the choice is the same in every run."""
    chosen = random.Random(0)
    places = _places()
    docs = [p for p in places if p.span.file.line(p.span.line).strip().startswith(("summary:", "source:"))]
    for number, place in enumerate(chosen.sample(places, 250)):
        sweep.try_(place, PAYLOADS[number % len(PAYLOADS)])
    for number, payload in enumerate(PAYLOADS):
        sweep.try_(docs[number * 7 % len(docs)], payload)
    assert sweep.texts > 50 and sweep.errors > 100


@pytest.mark.long
@pytest.mark.parametrize("spec", spec_names())
def test_every_payload_in_every_place(spec: str, sweep: Sweep) -> None:
    for place in _places():
        if place.spec == spec:
            for payload in PAYLOADS:
                sweep.try_(place, payload)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_and_values_from_outside(payload: str, sentinel: Sentinel) -> None:
    """Variants, paths and values of `set`."""
    plain = _outline(compiler.emit("gpt2"))
    calls: list[tuple[str, dict[str, Any]]] = [(f"gpt2:{payload}", {}), (payload, {})]
    calls += [("gpt2", {payload: 1}), ("gpt2", {"act": payload}), ("gpt2", {"eps": payload})]
    for source, values in calls:
        sentinel.seen.clear()
        sentinel.on = True
        try:
            text = compiler.emit(source, set=values)
        except CompileError:
            continue
        finally:
            sentinel.on = False
        assert sentinel.seen == [] and _outline(text) == plain, (source, values)
