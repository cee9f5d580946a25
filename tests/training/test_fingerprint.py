"""Another data set under the same name: told by whoever would measure or go on with it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compiler import CompileError
from compiler.diagnostics.diagnostic import Diagnostics
from compiler.source.text import SourceFile
from compiler.syntax.yaml import parse_yaml
from runtime.training.data import DATA
from runtime.training.fields import of_kind
from runtime.training.fingerprint import fingerprint
from runtime.training.run import evaluate, train
from runtime.training.tokenizer import TOKENIZERS
from tests.training.recipes import text, write
from tests.training.test_resume import run

SPECIAL = '["[PAD]", "[UNK]", "[EOS]", "[MASK]", <xx>]'


def replace(old: str, new: str) -> Callable[[Path], object]:
    """An edit of a text file."""
    return lambda path: path.write_text(path.read_text().replace(old, new, 1))


def stream(path: Path) -> None:
    path.write_text(text())


def table(path: Path) -> None:
    path.write_text("text,label\n" + "".join(f"row {i},{i % 3}\n" for i in range(40)))


def sentences(path: Path) -> None:
    path.write_text("".join(f"line {i}\n" for i in range(40)))


def archive(path: Path, last: float = 1.0) -> None:
    values = np.arange(40, dtype=np.float32)
    np.savez(path.open("wb"), x=np.append(values, np.float32(last)))


def pictures(path: Path) -> None:
    for kind in "ab":
        (path / kind).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (4, 4), (i, i, i)).save(path / kind / f"{i}.png")
    rows = [{"name": f"picture {i}", "file": f"a/{i}.png", "kind": "a"} for i in range(6)]
    (path / "t.json").write_text(json.dumps(rows))


def bytes_of(path: Path) -> None:
    path.mkdir()
    (path / "x").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 1]) + bytes(range(40)))
    (path / "y").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 20]) + bytes(range(20)))


CAPTIONS = (
    "kind: captions, table: t.json, text: name, picture: file, folder: '', image: 4, length: 20, also: [kind]"
)
CASES = {
    "text": ("kind: text, length: 8", stream, replace("a dog sees", "a dog hears")),
    "characters": ("kind: text, length: 8", stream, lambda p: p.write_text(p.read_text().replace("y", "z"))),
    "masked": ("kind: text, length: 8, objective: masked", stream, replace("sees", "hears")),
    "rows": ("kind: rows, length: 9", table, lambda p: p.write_text(p.read_text() + "one more,1\n")),
    "label": ("kind: rows, length: 9", table, replace("row 7,1", "row 7,2")),
    "lines": ("kind: lines, target: PATH, language: <xx>, length: 9", sentences, replace("line 7", "lane 7")),
    "arrays": ("kind: arrays, arrays: {volume: x}", archive, lambda path: archive(path, 2.0)),
    "images": ("kind: images, image: 4", pictures, lambda p: (p / "a" / "1.png").rename(p / "a" / "9.png")),
    "captions": (CAPTIONS, pictures, lambda p: Image.new("RGB", (4, 4), "red").save(p / "a" / "1.png")),
    "idx": (
        "kind: idx, images: x, labels: y",
        bytes_of,
        lambda p: (p / "y").write_bytes((p / "y").read_bytes()[:-1] + b"\0"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_other_data(name: str, tmp_path: Path) -> None:
    fields, make, edit = CASES[name]
    path = tmp_path / ("data.csv" if "rows" in fields else "data")
    where = f"{'source' if name == 'lines' else 'path'}: {path}"
    (document,) = parse_yaml(
        SourceFile("recipe", f"{{{fields.replace('PATH', str(path))}, {where}, held_out: 0.2}}")
    )
    (kind,) = parse_yaml(SourceFile("recipe", f"{{kind: characters, special: {SPECIAL}}}"))

    def now() -> object:
        tokenizer = of_kind(kind, TOKENIZERS, "tokenizer", Diagnostics()).start()
        return fingerprint(of_kind(document, DATA, "data", Diagnostics()).read(tokenizer))

    make(path)
    first = now()
    assert now() == first
    edit(path)
    assert now() != first


def test_a_run_goes_on_with_the_same_data_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write(tmp_path)
    out, held = tmp_path / "run", tmp_path / "text.txt"
    run(recipe, out, kill=5)
    kept = json.loads((out / "data.json").read_text())
    before = held.read_text()
    more = r"to train on: 496 examples are now 498 examples, held out: 12"
    other = r"run` was trained on: held out: 123 examples are not the same\n"
    for now, told in ((before + "One more line.\n", more), (before[:-2] + "?\n", other)):
        held.write_text(now)
        with pytest.raises(CompileError, match=told):
            run(recipe, out, resume=True)
    held.write_text(before)
    train(recipe, out, resume=True, log=io.StringIO())
    assert json.loads((out / "data.json").read_text()) == kept
    figures = evaluate(out)
    held.write_text(before + "One more line.\n")
    with pytest.raises(CompileError, match=r"is not what the run in .* was trained on"):
        evaluate(out)
    (out / "data.json").unlink()
    assert evaluate(out) != figures
    assert "whether the data is what it was is not known" in capsys.readouterr().err
