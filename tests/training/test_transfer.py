"""What one run learned goes into the next: a swapped head, an encoder alone, an adapter in PEFT."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification

import compiler
import runtime
from runtime.tasks.classify import classify_texts
from runtime.tasks.opened import open_model
from runtime.training.model import compile_model, make_model
from runtime.training.recipe import read_recipe
from runtime.training.run import train
from tests.artifacts import FOLDER, need


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKWRIGHT_DATA", str(FOLDER))
    monkeypatch.chdir(tmp_path)


def smoke(name: str, **set: Any) -> Path:
    return train(name, smoke=True, set={k.replace("__", "."): v for k, v in set.items()}, log=io.StringIO())


@pytest.mark.parametrize(
    ("first", "second", "artifacts", "fresh"),
    [
        ("brown_mlm", "imdb", ("brown", "reviews"), ("pooler.", "head.")),
        ("fashion_mae", "fashion_few", ("fashion",), ("head.",)),
    ],
)
def test_a_model_begins_from_another(
    first: str, second: str, artifacts: tuple[str, ...], fresh: tuple[str, ...]
) -> None:
    for artifact in artifacts:
        need(artifact)
    best = smoke(first) / "best"
    settings: dict[str, Any] = {"model.weights": str(best)}
    if second == "imdb":
        settings |= {"tokenizer": {"kind": "file", "path": str(best / "tokenizer.json")}}
    recipe = read_recipe(second, settings, smoke=True)
    data = recipe.data.read(recipe.tokenizer.start() if recipe.tokenizer is not None else None)
    torch.manual_seed(7)
    model = make_model(recipe, compile_model(recipe, data))
    held = runtime.load(best).state_dict()
    own = model.state_dict()
    assert {name for name in own if name not in held} == {n for n in own if n.startswith(fresh)}
    assert all(torch.equal(own[name], held[name]) for name in own.keys() & held.keys())
    with pytest.raises(compiler.CompileError, match="the checkpoint lacks `head"):
        make_model(
            read_recipe(second, {**settings, "model.fresh": []}, smoke=True), compile_model(recipe, data)
        )
    with pytest.raises(compiler.CompileError, match="the model has no `"):
        make_model(
            read_recipe(second, {**settings, "model.unused": []}, smoke=True), compile_model(recipe, data)
        )


def test_the_adapter_opens_in_peft() -> None:
    need("reviews")
    minilm = need("minilm").parent
    folder = smoke("imdb_lora", optimizer__lr=0.05)
    ours = runtime.load(folder / "best").double()
    base = BertForSequenceClassification.from_pretrained(minilm, num_labels=2)
    peft = PeftModel.from_pretrained(base, folder / "best" / "adapter").double().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "best")
    rows = tokenizer(["A fine film.", "It was so bad that I left."], padding=True, return_tensors="pt")
    tokens, mask = rows["input_ids"], rows["attention_mask"].bool()
    with torch.no_grad():
        theirs = peft(input_ids=tokens, attention_mask=mask.long()).logits
        torch.testing.assert_close(ours(tokens, mask=mask), theirs, rtol=0, atol=1e-10)
        plain = BertForSequenceClassification.from_pretrained(minilm, num_labels=2).double().eval()
        plain.classifier.load_state_dict(
            peft.base_model.model.classifier.modules_to_save["default"].state_dict()
        )
        without = plain(input_ids=tokens, attention_mask=mask.long()).logits
    assert (without - theirs).abs().max() > 1e-3
    trained = sum(p.numel() for p in ours.parameters() if p.requires_grad)
    assert trained == 6 * 2 * 8 * (384 + 384) + 384 * 2 + 2


NAMED = """\
recipe: named
model:
  spec: bert_classifier
  set: {vocab: =data.tokens, context: 16, dim: 12, depth: 1, heads: 2, hidden: 8, classes: =data.classes}
tokenizer: {kind: characters, special: ["[PAD]"]}
data: {kind: rows, path: PATH, length: 12, held_out: 0.2}
train: {steps: 2, batch: 4}
optimizer: {kind: adamw, lr: 1e-3}
evaluate: {every: 2, metrics: [accuracy]}
checkpoint: {every: 2}
"""


@pytest.mark.parametrize("adapters", ["null", "{at: [h.*.attn.q], rank: 2, alpha: 4, train: [head]}"])
def test_what_is_published_names_its_classes(adapters: str, tmp_path: Path) -> None:
    names = ["böse", "good 😀", "no", "so-so"]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"row {i},{names[i % 4]}\n" for i in range(40)))
    recipe = NAMED.replace("PATH", str(tmp_path / "a.csv"))
    (tmp_path / "named.yaml").write_text(recipe.replace("model:\n", f"model:\n  adapters: {adapters}\n"))
    best = train(tmp_path / "named.yaml", tmp_path / "run", log=io.StringIO()) / "best"
    if adapters == "null":
        theirs = AutoConfig.from_pretrained(best)
        assert theirs.id2label == dict(enumerate(names))
        assert theirs.label2id == {name: i for i, name in enumerate(names)}
    (found,) = classify_texts(open_model(best), ["row 1"])
    assert sorted(one.name for one in found) == names
