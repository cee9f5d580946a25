"""Tokenizers from vocabularies in files, against transformers' own and open_clip's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip import tokenizer as open_clip_tokenizer
from tokenizers import Tokenizer as Backend
from tokenizers import pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import BartTokenizer, BertTokenizer, CLIPTokenizer, GPT2Tokenizer, RobertaTokenizer

import runtime
from compiler.diagnostics.diagnostic import CompileError
from runtime.text import Tokenizer, load_tokenizer
from tests.artifacts import need
from tests.unit.text.samples import TEXTS

MASKED = "the <mask> of  this<mask>, and </s> <s>that"
FRAMES = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vocab.json and merges.txt, learned from the texts."""
    folder = tmp_path_factory.mktemp("merged")
    backend = Backend(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    specials = [*FRAMES, "<|endoftext|>"]
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=specials, initial_alphabet=alphabet)
    backend.train_from_iterator(TEXTS, trainer)
    backend.model.save(str(folder))
    return folder


def same(ours: Tokenizer, theirs: Any, texts: tuple[str, ...]) -> None:
    for text in texts:
        assert ours.encode(text).tokens.tolist() == [theirs(text).input_ids]
    rows = ours.encode(texts[:5], pair=texts[1:6])
    expected = theirs(list(texts[:5]), list(texts[1:6]))
    for i, ids in enumerate(expected.input_ids):
        assert rows.tokens[i][rows.mask[i]].tolist() == ids
    if "token_type_ids" in expected:
        for i, ids in enumerate(expected.token_type_ids):
            assert rows.segments[i][rows.mask[i]].tolist() == ids


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("gpt2", GPT2Tokenizer),
        ("roberta", RobertaTokenizer),
        ("roberta_mlm", RobertaTokenizer),
        ("bart", BartTokenizer),
    ],
)
def test_merges(spec: str, kind: Any, merged: Path) -> None:
    """The files say nothing of frames and special tokens; the spec does."""
    theirs = kind.from_pretrained(merged)
    ours = load_tokenizer(spec, merged)
    same(ours, theirs, (*TEXTS, MASKED, ""))
    for name in ("bos", "eos", "pad", "mask"):
        expected = getattr(theirs, f"{name}_token_id")
        assert expected is None or getattr(ours, name) == expected or spec == "gpt2"


def test_settings_in_files_come_first(merged: Path, tmp_path: Path) -> None:
    """How a special token is matched, and which it is."""
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((merged / name).read_bytes())
    mask = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False, "special": True}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"mask_token": mask, "pad_token": "<unk>"}))
    ours = load_tokenizer("roberta", tmp_path)
    assert ours.token(ours.pad or 0) == "<unk>"
    same(ours, RobertaTokenizer.from_pretrained(tmp_path), (*TEXTS, MASKED))


def test_tokens_behind_the_vocabulary(merged: Path, tmp_path: Path) -> None:
    """Their ids are those of the settings, in whichever of the two files they stand."""
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((merged / name).read_bytes())
    size = len(load_tokenizer("gpt2", merged))
    chat = {"content": "<|im_start|>", "special": True, "lstrip": False, "normalized": False}
    settings = {"added_tokens_decoder": {str(size + 1): chat}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<think>": size, "<|im_start|>": size + 1}))
    ours = load_tokenizer("gpt2", tmp_path)
    bare = load_tokenizer("gpt2", merged).encode("the ").tokens[0].tolist()
    ids = ours.encode("the <|im_start|><think>").tokens[0].tolist()
    assert ids == [*bare, size + 1, size]
    assert ours.decode(ids) == "the <think>"
    (tmp_path / "added_tokens.json").unlink()
    assert f"`<|im_start|>` has the id {size + 1} in its settings and {size} here" in said("gpt2", tmp_path)


def test_how_texts_are_split_is_not_guessed(merged: Path) -> None:
    assert "stands in tokenizer.json alone" in said("qwen2", merged)


def clip() -> Path:
    return need("clip-code").parent / "bpe_simple_vocab_16e6.txt.gz"


CAPTIONS = (
    "a diagram",
    "A photo of a CAT, it's (very) cute!!",
    "  spaces\n and\ttabs ",
    "123 dogs & 4,567 cats",
    "crème brûlée 寿司 🍣",
    "",
    "don't we'll you've I'd they're",
    "under_score-dash/slash",
)


def test_clip_as_open_clip() -> None:
    """OpenAI's own file and its reader, as open_clip keeps it; padding is 0 there."""
    ours = load_tokenizer("clip_vitb32", clip())
    theirs = open_clip_tokenizer.SimpleTokenizer()
    for text in CAPTIONS:
        found = ours.encode(text)
        assert torch.equal(found.tokens.masked_fill(~found.mask, 0), theirs([text]))
        assert found.tokens.shape == (1, 77)


def test_clip_as_transformers(tmp_path: Path) -> None:
    """The same vocabulary as vocab.json and merges.txt, padded to 77 with the token that ends a text."""
    ours = load_tokenizer("clip_vitb32", clip())
    saved = json.loads(ours.backend.to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(saved["vocab"]))
    lines = [" ".join(pair) for pair in saved["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")
    theirs = CLIPTokenizer.from_pretrained(tmp_path)
    for tokenizer in (ours, load_tokenizer("clip_vitb32", tmp_path)):
        texts = [*CAPTIONS, *TEXTS[:2], "<|endoftext|> ends"]
        found = tokenizer.encode(texts)
        expected = theirs(texts, padding="max_length", max_length=77, return_tensors="pt")
        assert torch.equal(found.tokens, expected.input_ids)
        assert torch.equal(found.mask, expected.attention_mask.bool())
        for row in found.tokens[:4]:
            assert tokenizer.decode(row).strip() == theirs.decode(row, skip_special_tokens=True)


def test_a_text_that_is_too_long_is_cut_only_when_asked() -> None:
    ours = load_tokenizer("clip_vitb32", clip())
    long = "word " * 100
    with pytest.raises(CompileError, match="longer than the 77"):
        ours.encode(["short", long])
    found = ours.encode(["short", long], truncate=77)
    assert found.cut == (1,) and found.tokens.shape == (2, 77)
    assert found.tokens[1, [0, -1]].tolist() == [49406, 49407]
    assert torch.equal(found.tokens[1:], open_clip_tokenizer.SimpleTokenizer()([long]))
    assert ours.encode(["short"], truncate=77).cut == ()


def minilm() -> Path:
    return need("minilm").parent


def test_word_pieces() -> None:
    """The vocabulary alone gives what the tokenizer.json beside it gives, and transformers."""
    theirs = BertTokenizer(str(minilm() / "vocab.txt"))
    for ours in (load_tokenizer("bert", minilm() / "vocab.txt"), load_tokenizer(minilm())):
        same(ours, theirs, (*TEXTS, "[CLS] a [MASK] b[SEP]", ""))
        assert (ours.pad, ours.mask, ours.mask_token) == (0, 103, "[MASK]")
        ids = ours.encode("Hello, it's wordpieces!").tokens[0]
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_nothing_is_padded_because_a_file_says_so() -> None:
    saved = json.loads((minilm() / "tokenizer.json").read_text())
    assert saved["padding"] is not None or saved["truncation"] is not None
    assert load_tokenizer(minilm()).encode("hello world").tokens.tolist() == [[101, 7592, 2088, 102]]
    assert load_tokenizer(minilm()).encode("word " * 600).tokens.shape == (1, 602)


def test_a_loaded_model_has_the_tokens_beside_its_weights() -> None:
    model = runtime.load(minilm())
    assert load_tokenizer(model).encode("hello world").tokens.tolist() == [[101, 7592, 2088, 102]]
    assert "this model has no folder" in said(runtime.load("gpt2", weights=None, set={"depth": 1}))


def test_letters_of_an_antibody() -> None:
    """One letter is one token, with spaces between (as its own code writes them) or without."""
    folder = need("antiberty").parent
    vocabulary = folder.parent / "vocab.txt"
    ours = load_tokenizer(folder, vocabulary)
    theirs = BertTokenizer(str(vocabulary), do_lower_case=False)
    chain = "EVQLVESGGGLVQPGG"
    expected = [theirs(" ".join(chain)).input_ids]
    assert ours.encode(" ".join(chain)).tokens.tolist() == ours.encode(chain).tokens.tolist() == expected
    assert ours.encode("EV[MASK]LV").tokens.tolist() == [theirs("E V [MASK] L V").input_ids]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(side: Any) -> None:
    found = load_tokenizer(minilm()).encode(["hello world", "a"], side=side)
    assert found.mask.tolist() == [
        [True] * 4,
        [True] * 3 + [False] if side == "right" else [False] + [True] * 3,
    ]
    assert found.tokens[~found.mask].tolist() == [0]


def said(source: Any, path: str | Path | None = None) -> str:
    with pytest.raises(CompileError) as caught:
        load_tokenizer(source, path)
    (found,) = caught.value.diagnostics
    return f"{found.message} {found.help}"


def test_what_is_missing_or_damaged_is_said(merged: Path, tmp_path: Path) -> None:
    assert "holds no tokens" in said("gpt2", tmp_path)
    assert "there is no file or folder" in said("gpt2", tmp_path / "none")
    (tmp_path / "m.model").write_bytes(b"\x0a")
    assert "SentencePiece models are not read" in said("t5", tmp_path) and "save_pretrained" in said(
        "t5", tmp_path
    )
    (tmp_path / "vocab.json").write_bytes((merged / "vocab.json").read_bytes())
    assert "without the merges.txt" in said("gpt2", tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    assert "a merge is two tokens" in said("gpt2", tmp_path)
    (tmp_path / "merges.txt").write_text("zq zz\n")
    assert "not a vocabulary with its merges" in said("gpt2", tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0, "a": 1}')
    assert "stands twice" in said("gpt2", tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": "b"}')
    assert "not a vocabulary" in said("gpt2", tmp_path)
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("")
    assert "lacks `</s>`" in said("roberta", tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "not a tokenizer" in said("gpt2", tmp_path)
    (tmp_path / "vocab.txt").write_text("[UNK]\na\na\n")
    assert "`a` stands twice" in said("bert", tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_text("a\n")
    assert "lacks the unknown token" in said("bert", tmp_path / "vocab.txt")
    (tmp_path / "x.txt.gz").write_bytes(b"nothing")
    assert "not packed text" in said("clip_vitb32", tmp_path / "x.txt.gz")
    (tmp_path / "x.bin").write_bytes(b"")
    assert "no tokens are called so" in said("gpt2", tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{split: '(', special: {unk: null}}", "neither a known way to split nor an expression"),
        ("{split: gpt-2, single: 'no text'}", "`io.tokenizer.single` is a text with $A in it, not `no text`"),
        ("{split: gpt-2, single: '$A $9x'}", "frames texts as '$A $9x'"),
        ("{split: gpt-2, single: '[NO] $A'}", "lacks `[NO]`"),
    ],
)
def test_what_a_spec_says_wrong(section: str, message: str, merged: Path, tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    spec.write_text(f"spec: mine\nextends: gpt2\nsummary: x\nio: {{tokenizer: {section}}}\n")
    assert message in said(spec, merged)
