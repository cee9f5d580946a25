"""Data from pictures and arrays: every value, and what is said of files that are not what they should be."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Replace
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from compiler import CompileError
from compiler.diagnostics.diagnostic import Diagnostics
from compiler.source.text import SourceFile
from compiler.syntax.yaml import parse_yaml
from runtime.training.batches import training_batches
from runtime.training.data import DATA
from runtime.training.data.common import Data
from runtime.training.data.text import TextSection
from runtime.training.fields import of_kind
from runtime.training.order import Epochs
from runtime.training.tokenizer import TOKENIZERS


def read(text: str) -> Data:
    (document,) = parse_yaml(SourceFile("recipe", text))
    return of_kind(document, DATA, "data", Diagnostics()).read(None)


def everything(data: Data) -> list[dict[str, torch.Tensor]]:
    return [part.example(i, None) for part in (data.train, data.valid) for i in range(len(part))]


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = {}
    for name in ("cats", "birds"):
        (tmp_path / name).mkdir()
        for i in range(6):
            pixels = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
            pictures[pixels.tobytes()] = name
    (tmp_path / "cats" / "notes.txt").write_text("no picture")
    data = read(f"{{kind: images, path: {tmp_path}, image: 5, held_out: 0.25, mean: 0.2, std: 0.3}}")
    assert (data.labels, data.facts["classes"], len(data.valid)) == (("birds", "cats"), 2, 3)
    found = {}
    for example in everything(data):
        stored = ((example["pixels"] * 0.3 + 0.2) * 255).round().to(torch.uint8)
        found[stored.permute(1, 2, 0).contiguous().numpy().tobytes()] = data.labels[example["labels"]]
    assert found == pictures
    for hidden in (".cache/1.png", "cats/.thumbnails/1.png", "cats/._1.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"no picture")
    assert len(everything(read(f"{{kind: images, path: {tmp_path}, image: 5}}"))) == 12
    (tmp_path / "dogs" / "young").mkdir(parents=True)
    with pytest.raises(CompileError, match="without pictures would be a class: `dogs`"):
        read(f"{{kind: images, path: {tmp_path}, image: 5}}")
    Image.new("RGB", (5, 5)).save(tmp_path / "dogs" / "young" / "1.PNG")
    assert read(f"{{kind: images, path: {tmp_path}, image: 5}}").labels == ("birds", "cats", "dogs")
    (tmp_path / "cats" / "bad.png").write_bytes(b"no picture")
    with pytest.raises(CompileError, match=r"bad\.png` is no picture"):
        everything(read(f"{{kind: images, path: {tmp_path}, image: 5}}"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_told_with_its_place(workers: int, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i in range(8):
        Image.new("RGB", (4, 4)).save(tmp_path / "a" / f"{i}.png")
    path = tmp_path / "a" / "3.png"
    path.write_bytes(path.read_bytes()[:40])
    data = read(f"{{kind: images, path: {tmp_path}, image: 4, held_out: 0}}")
    batches = training_batches(data, Epochs(8, 0, 4), 4, 0, workers)
    with pytest.raises(CompileError, match=r"3\.png` is no picture: .*\n +--> recipe:1:1") as raised:
        for _ in range(2):
            assert next(batches)["pixels"].shape == (4, 3, 4, 4)
    (fault,) = raised.value.diagnostics
    assert fault.code == "unreadable"


def test_chance_moves_a_picture_by_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i in range(2):
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5).save(tmp_path / "a" / f"{i}.png")
    data = read(f"{{kind: images, path: {tmp_path}, image: 4, shift: 1, flip: true, held_out: 0.5}}")
    whole = data.train.example(0, None)["pixels"]
    padded = torch.nn.functional.pad(whole[None], [1] * 4, mode="replicate")[0]
    windows = [padded[:, y : y + 4, x : x + 4] for y in range(3) for x in range(3)]
    windows += [w.flip(-1) for w in windows]
    seen = set()
    for draw in range(200):
        moved = data.train.example(0, torch.Generator().manual_seed(draw))["pixels"]
        seen |= {i for i, window in enumerate(windows) if torch.equal(window, moved)}
    assert seen == set(range(18))


def test_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3, 2)), rng.integers(0, 4, 20).astype(np.int32)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    path = tmp_path / "a.npz"
    data = read(f"{{kind: arrays, path: {path}, arrays: {{volume: x, labels: y}}, held_out: 0.2}}")
    assert (len(data.train), len(data.valid), data.facts) == (16, 4, {"classes": int(y.max()) + 1})
    rows = {e["volume"].numpy().tobytes(): int(e["labels"]) for e in everything(data)}
    assert rows == {x[i].astype(np.float32).tobytes(): int(y[i]) for i in range(20)}
    with pytest.raises(CompileError, match="has no array `z`"):
        read(f"{{kind: arrays, path: {path}, arrays: {{volume: z}}}}")
    np.savez(tmp_path / "b.npz", x=np.array([{"a": 1}], dtype=object))
    for bad in (tmp_path / "b.npz", Path(__file__)):
        with pytest.raises(CompileError, match="cannot be read"):
            read(f"{{kind: arrays, path: {bad}, arrays: {{volume: x}}}}")


def idx(shape: tuple[int, ...], values: bytes) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + values


def test_idx(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 4), dtype=np.uint8)
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx((10, 3, 4), pixels.tobytes())))
    (tmp_path / "y").write_bytes(idx((10,), bytes(range(10))))
    text = f"{{kind: idx, path: {tmp_path}, images: x.gz, labels: %s, mean: 0, std: 1, held_out: 0.3}}"
    data = read(text % "y")
    for example in everything(data):
        expected = torch.from_numpy(pixels[int(example["labels"])]).float()[None] / 255
        assert torch.equal(example["pixels"], expected)
    assert sorted(int(e["labels"]) for e in everything(data)) == list(range(10))
    (tmp_path / "short").write_bytes(idx((10,), bytes(9)))
    (tmp_path / "nine").write_bytes(idx((9,), bytes(9)))
    for name, fault in (
        ("short", "its header says 10"),
        ("nine", "9 labels for 10"),
        ("x.gz", "1 dimensions"),
    ):
        with pytest.raises(CompileError, match=fault):
            read(text % name)


def rows(path: Path, rest: str = "held_out: 0.4", special: str = '["[PAD]"]') -> Data:
    """The rows of a file with columns t and l, by characters."""
    recipe = f"{{kind: rows, path: {path}, text: t, label: l, length: 5, {rest}}}"
    (document,) = parse_yaml(SourceFile("recipe", recipe))
    (kind,) = parse_yaml(SourceFile("recipe", f"{{kind: characters, special: {special}}}"))
    tokenizer = of_kind(kind, TOKENIZERS, "tokenizer", Diagnostics()).start()
    return of_kind(document, DATA, "data", Diagnostics()).read(tokenizer)


def test_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"t": "good", "l": 1, "k": "x"}\n{"t": "bad one", "l": 0, "k": "y"}\n' * 3
    )
    (tmp_path / "a.csv").write_text('t,l,k\n"good, fine",1,x\n\nbad,0,x\nso,1,y\n')
    for name, where, count in (("a.jsonl", "{}", 2), ("a.csv", "{k: x}", 2), ("a.csv", "{}", 3)):
        data = rows(tmp_path / name, f"where: {where}, held_out: 0.4")
        assert len(everything(data)) == count and data.labels == ("0", "1")
        batch = data.collate(everything(data))
        assert batch["tokens"].shape[1] <= 5 and torch.equal(batch["tokens"] == 0, ~batch["mask"])
        assert batch["tokens"].dtype == batch["labels"].dtype == torch.long


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.csv", 't,l\n"so\nlong",1\n\nso,1\nno,0\nso,0\n', r"line 7 .*labelled `0`, and in line 5 `1`"),
        ("a.csv", "t,l\nso,1\nso,0\nno,1\nno,0\n", r"line 3 .*`1`; 1 more are like it"),
        ("a.csv", 't,l\n"a\nb",1\nno\n', r"line 4 has 1 cells, and there are 2 columns"),
        ("a.tsv", "t\tl\nso\t1\tx\nno\t1\n", r"line 2 has 3 cells, and there are 2 columns"),
        ("a.csv", "t,l,l\nso,1,x\nno,1,x\n", r"two of its columns have one name: t, l, l"),
        ("a.csv", "t,l\nso,1\n ,0\n", r'line 3 .*`t` is " ", not a text'),
        ("a.csv", "t,l\nso,1\nno,\n", r'line 3 .*`l` is "", not a text'),
        ("a.jsonl", '{"t": "so", "l": 1}\n{"t": "no", "l": null}\n', r"line 2 .*`l` is null, not a text"),
        ("a.jsonl", '{"t": "so", "l": 1}\n{"t": null, "l": 1}\n', r"line 2 .*`t` is null, not a text"),
        ("a.jsonl", '{"t": "so", "l": 1}\n{"t": ["no"], "l": 1}\n', r'line 2 .*`t` is \["no"\], not a text'),
        ("a.jsonl", '{"t": "so", "l": 1}\n{"t": "no"}\n', r"line 2 .*there is no `l`"),
        ("a.jsonl", '{"t": "so", "l": 1}\n{"t":\n', r"cannot be read: line 2: Expecting"),
        ("a.jsonl", '{"t": "so", "l": 1}\n[]\n', r"cannot be read: line 2 is no JSON object"),
    ],
)
def test_rows_that_are_refused(name: str, text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CompileError, match=fault):
        rows(tmp_path / name)


def test_running_text_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"def f():\n    return 1\n\n\n\ttab  \r\nx = 2\n")
    (tmp_path / "b.txt").write_bytes(b"  verse,\n\x0c\n    indented")
    (tmp_path / "c.txt").write_bytes(b"")
    text = f"{{kind: text, path: {tmp_path}, length: 4, held_out: 0.2}}"
    (document,) = parse_yaml(SourceFile("recipe", text))
    section = of_kind(document, DATA, "data", Diagnostics())
    assert isinstance(section, TextSection)
    assert section.texts() == (
        "def f():\n    return 1\n\n\n\ttab  \r\n  verse,\n\x0c",
        "x = 2\n    indented",
    )


def test_tags_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\tThe/at  cat/nn 1/2/cd\n\n  ./.\n\nSo/rb it/pps\n" * 2)
    text = f"{{kind: text, path: {tmp_path}, tagged: /, length: 4, held_out: 0.5, lower: true}}"
    (document,) = parse_yaml(SourceFile("recipe", text))
    section = of_kind(document, DATA, "data", Diagnostics())
    assert isinstance(section, TextSection)
    assert section.texts() == ("the cat 1/2\n.\nso it",) * 2


def test_a_file_gets_the_special_tokens_that_it_lacks(tmp_path: Path) -> None:
    theirs = Tokenizer(BPE())  # as GPT-2's, which has no token for padding
    theirs.normalizer = Replace("~", "")
    theirs.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=270, initial_alphabet=ByteLevel.alphabet(), special_tokens=["<end>"], show_progress=False
    )
    theirs.train_from_iterator(["so long, so good"] * 3, trainer)
    theirs.save(str(tmp_path / "tokenizer.json"))
    size = theirs.get_vocab_size()
    (tmp_path / "a.csv").write_text("t,l\nso long,1\nso,0\ngood,0\n")

    def read_with(special: str) -> Data:
        (kind,) = parse_yaml(
            SourceFile("recipe", f"{{kind: file, path: {tmp_path / 'tokenizer.json'}, special: {special}}}")
        )
        text = f"{{kind: rows, path: {tmp_path / 'a.csv'}, text: t, label: l, length: 9, held_out: 0}}"
        (document,) = parse_yaml(SourceFile("recipe", text))
        tokenizer = of_kind(kind, TOKENIZERS, "tokenizer", Diagnostics()).start()
        return of_kind(document, DATA, "data", Diagnostics()).read(tokenizer)

    with pytest.raises(CompileError, match=r"no token `\[PAD\]`(.|\n)*`special`"):
        read_with("[]")
    data = read_with('["[PAD]", "<end>"]')
    assert data.facts["tokens"] == size + 1
    batch = data.collate(everything(data))
    found = [row[mask].tolist() for row, mask in zip(batch["tokens"], batch["mask"], strict=True)]
    assert sorted(found) == sorted(theirs.encode(text).ids for text in ("so long", "so", "good"))
    assert batch["tokens"][~batch["mask"]].eq(size).all() and not batch["mask"].all()
    (tmp_path / "a.csv").write_text("t,l\nso,1\n~~,0\n")
    with pytest.raises(CompileError, match=r"line 3 of .*the tokenizer finds no token in its `t`"):
        read_with('["[PAD]"]')


@pytest.mark.parametrize("files", ["/data/*.txt", "''"])
def test_files_that_are_no_pattern(files: str, tmp_path: Path) -> None:
    text = f"{{kind: text, path: {tmp_path}, files: {files}, length: 4}}"
    (document,) = parse_yaml(SourceFile("recipe", text))
    section = of_kind(document, DATA, "data", Diagnostics())
    assert isinstance(section, TextSection)
    with pytest.raises(CompileError, match=r"is no pattern of files below a folder\n +--> recipe:1:1"):
        section.texts()


def test_what_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    for i in range(2):
        Image.new("RGB", (4, 4)).save(tmp_path / "a" / f"{i}.png")
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2)))
    for module, extra, text in (
        ("PIL", "vision", f"{{kind: images, path: {tmp_path}, image: 4}}"),
        ("numpy", "train", f"{{kind: arrays, path: {tmp_path / 'a.npz'}, arrays: {{volume: x}}}}"),
    ):
        assert everything(read(text))
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(CompileError, match=rf"\[{extra}\]") as raised:
            everything(read(text))
        assert raised.value.diagnostics[0].code == "usage"
