"""Pictures with captions: which text goes with a picture, in training and where it is held out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from compiler import CompileError
from compiler.diagnostics.diagnostic import Diagnostics
from compiler.source.text import SourceFile
from compiler.syntax.yaml import parse_yaml
from runtime.training.chance import generator
from runtime.training.data import DATA
from runtime.training.data.common import Data
from runtime.training.fields import of_kind
from runtime.training.tokenizer import TOKENIZERS

TOKENIZER = '{kind: bpe, size: 300, special: ["[PAD]", "[CLS]", "[SEP]"], ends: ["[CLS]", "[SEP]"]}'


def section(text: str, kinds: object, name: str) -> object:
    (document,) = parse_yaml(SourceFile("recipe", text))
    return of_kind(document, kinds, name, Diagnostics())  # type: ignore[arg-type]


def read(folder: Path, also: str) -> Data:
    text = (
        f"{{kind: captions, path: {folder}, table: t.json, text: name, picture: file, folder: pictures, "
        f"category: group, also: {also}, image: 4, length: 40, held_out: 0.25}}"
    )
    tokenizer = section(TOKENIZER, TOKENIZERS, "tokenizer").start()  # type: ignore[attr-defined]
    data: Data = section(text, DATA, "data").read(tokenizer)  # type: ignore[attr-defined]
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    rows = []
    for i, name in enumerate(("RED APPLE", "Lion", "Rose", "Flag of Peru")):
        Image.fromarray(np.full((4, 4, 3), 40 * i, dtype=np.uint8)).save(tmp_path / "pictures" / f"{i}.png")
        rows.append({"name": name, "file": f"{i}.png", "group": f"Group {i} & more", "kind": f"kind {i}"})
    (tmp_path / "t.json").write_text(json.dumps(rows))
    return tmp_path


def test_draws_say_the_text_or_more_or_the_kinds_alone(folder: Path) -> None:
    data = read(folder, "[kind, group]")
    assert data.tokenizer is not None
    (index,) = (i for i in range(3) if data.train.categories[i] == "Group 1 & more")  # type: ignore[attr-defined]
    drawn = Counter(
        data.tokenizer.text(data.train.example(index, generator(0, n))["tokens"].tolist()) for n in range(400)
    )
    found = {text.replace("[CLS]", "").replace("[SEP]", "").strip(): count for text, count in drawn.items()}
    assert set(found) == {"lion", "lion, kind 1, group 1 and more", "kind 1, group 1 and more"}
    assert all(100 < count < 167 for count in found.values())


def test_what_is_evaluated_is_the_text_alone(folder: Path) -> None:
    plain, more = read(folder, "[]"), read(folder, "[kind]")
    for one, other in ((plain.train, more.train), (plain.valid, more.valid)):
        for i in range(len(one)):
            a, b = one.example(i, None), other.example(i, None)
            assert torch.equal(a["pixels"], b["pixels"])
            assert plain.tokenizer is not None and more.tokenizer is not None
            assert plain.tokenizer.text(a["tokens"].tolist()) == more.tokenizer.text(b["tokens"].tolist())


def test_a_key_that_is_not_there(folder: Path) -> None:
    with pytest.raises(CompileError, match="has no `sort`"):
        read(folder, "[sort]")
