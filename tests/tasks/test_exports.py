"""An exported folder does the tasks of the one that it came from: its tokenizer came along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers as hf

import runtime
from compiler.diagnostics.diagnostic import CompileError
from runtime.cli.main import main
from runtime.tasks.embed import embed_texts
from runtime.tasks.fill_mask import fill_mask
from runtime.tasks.opened import open_model
from tests.tasks.test_against_transformers import ENCODER, prepared
from tests.tasks.tokenizers import save_tokenizer

TEXTS = ["a [MASK] film", "the dog in [MASK] house"]


def test_the_tokenizer_comes_along(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    save_tokenizer(folder)
    _, opened = prepared(hf.BertForMaskedLM, hf.BertConfig(**ENCODER), folder)
    written = runtime.export(opened.model, out)
    texts = {"tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in written} >= {"config.json", "model.safetensors"} | texts
    assert all((out / name).read_bytes() == (folder / name).read_bytes() for name in texts)
    assert fill_mask(open_model(out), TEXTS) == fill_mask(opened, TEXTS)
    assert hf.AutoTokenizer.from_pretrained(out).mask_token == "[MASK]"
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (out / "1_Pooling").mkdir()
    (out / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    assert main(["export", str(out), "-o", str(tmp_path / "again")]) == 0
    for name in ("tokenizer.json", "1_Pooling/config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    assert main(["export", str(out), "-o", str(tmp_path / "again")]) == 0  # over what it wrote itself


def test_the_pooling_of_a_folder_is_followed(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    _, opened = prepared(hf.BertModel, hf.BertConfig(**ENCODER), tmp_path)
    place = tmp_path / "1_Pooling" / "config.json"
    place.parent.mkdir()
    texts = ["a good film", "the dog"]
    for mode, pooling in (("cls_token", "first"), ("mean_tokens", "mean")):
        modes = {f"pooling_mode_{name}": name == mode for name in ("cls_token", "mean_tokens", "max_tokens")}
        place.write_text(json.dumps(modes), encoding="utf-8")
        assert embed_texts(opened, texts).vectors.equal(embed_texts(opened, texts, pooling=pooling).vectors)
    assert not embed_texts(opened, texts, pooling="first").vectors.equal(embed_texts(opened, texts).vectors)
    place.write_text(json.dumps({"pooling_mode_max_tokens": True}), encoding="utf-8")
    with pytest.raises(CompileError, match="pooling_mode_max_tokens"):
        embed_texts(opened, texts)
