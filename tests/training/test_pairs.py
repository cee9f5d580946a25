"""Parallel text: catalogues against Python's own reader, sentences that are held out, batches."""

from __future__ import annotations

import gettext
import struct
from pathlib import Path

import pytest
import torch

from compiler import CompileError
from runtime.training.data.pairs import Translations, read_catalogue
from runtime.training.recipe import read_recipe
from tests.artifacts import need
from tests.training.recipes import RECIPE, write

SPECIAL = '["[PAD]", "[UNK]", "[EOS]", <xx>]'


@pytest.mark.parametrize("name", ["evolution-common", "iso-codes"])
def test_catalogues_are_read_as_gettext_does(name: str) -> None:
    path = need(name)
    with path.open("rb") as file:
        theirs = vars(gettext.GNUTranslations(file))["_catalog"]
    ours = read_catalogue(path.read_bytes())
    plain = {key: value for key, value in theirs.items() if isinstance(key, str)}
    plural = {key[0]: value for key, value in theirs.items() if isinstance(key, tuple) and key[1] == 0}
    assert len(ours) > 100 and {k: v for k, v in ours.items() if k} == {
        k: v for k, v in (plain | plural).items() if k
    }


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xde\x12\x04\x95" + bytes(4) + b"\xff" * 16])
def test_what_is_no_catalogue(data: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        read_catalogue(data)


def lines(tmp_path: Path, source: str, target: str) -> Path:
    (tmp_path / "en.txt").write_text(source)
    (tmp_path / "xx.txt").write_text(target)
    kind = f"{{kind: lines, source: {tmp_path / 'en.txt'}, target: {tmp_path / 'xx.txt'}, language: <xx>, "
    kind += "length: 12, held_out: 0.25}"
    recipe = RECIPE.replace("{kind: text, path: text.txt, length: 16, held_out: 0.2}", kind)
    return write(tmp_path, recipe.replace("{kind: characters}", f"{{kind: characters, special: {SPECIAL}}}"))


def test_batches(tmp_path: Path) -> None:
    source = "\n".join(["ab", "cd", "a", "bad", "ab", "too long for it", "d", "ab", "cab"]) + "\n"
    target = "\n".join(["xy", "zw", "x", "yxw", "yy", "short", "w", "xy", "zxy"]) + "\n"
    recipe = read_recipe(lines(tmp_path, source, target))
    assert recipe.tokenizer is not None
    data = recipe.data.read(recipe.tokenizer.start())
    train, valid = data.train, data.valid
    assert isinstance(train, Translations) and isinstance(valid, Translations)
    assert {p.source for p in train.pairs} & {p.source for p in valid.pairs} == set()
    everything = [(p.source, p.target) for p in (*train.pairs, *valid.pairs)]
    assert len(everything) == 7 and ("too long for it", "short") not in everything
    assert [t for s, t in sorted(everything) if s == "ab"] == ["xy", "yy"]
    batch = data.collate([train.example(i, None) for i in range(len(train))])
    for row, pair in enumerate(train.pairs):
        real = batch["source_mask"][row]
        assert data.tokenizer is not None
        assert data.tokenizer.text(batch["source"][row][real].tolist()) == pair.source
        assert batch["source"][row][~real].eq(0).all()
        labels = batch["labels"][row][batch["labels"][row] != -100].tolist()
        assert data.tokenizer.text(labels[:-1]) == pair.target and labels[-1] == 2
        assert batch["target"][row, 0] == 3 and torch.equal(
            batch["target"][row, 1 : len(labels)], torch.tensor(labels[:-1])
        )


def test_files_of_unlike_length(tmp_path: Path) -> None:
    recipe = read_recipe(lines(tmp_path, "a\nb\n", "x\n"))
    assert recipe.tokenizer is not None
    with pytest.raises(CompileError, match=r"has 2 lines, .* 1"):
        recipe.data.read(recipe.tokenizer.start())
