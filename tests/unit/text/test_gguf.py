"""Tokenizers in GGUF metadata: the kinds of vocabulary and the ways to split, against transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter
from transformers import AutoTokenizer

from compiler.diagnostics.diagnostic import CompileError
from compiler.weights.readers import read_header
from runtime.text import Tokenizer
from runtime.text.declared import Declared
from runtime.text.gguf import from_gguf
from tests.artifacts import need
from tests.unit.text.samples import TEXTS

COUNT = 3000
Fill = Callable[[GGUFWriter], None]


def written(folder: Path, fill: Fill) -> Path:
    """A GGUF file of a vocabulary alone."""
    path = folder / "vocabulary.gguf"
    writer = GGUFWriter(path, "llama")
    for name in ("block_count", "context_length", "embedding_length", "feed_forward_length", "head_count"):
        getattr(writer, f"add_{name}")(8)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def both(path: Path) -> tuple[Tokenizer, Any]:
    return from_gguf(path, Declared()), AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def byte_pairs(pre: str, **options: bool) -> Fill:
    """The beginning of SmolLM2's vocabulary, said to be split in another way."""
    metadata = read_header(need("smollm2")).metadata
    tokens = metadata["tokenizer.ggml.tokens"][:COUNT]
    known = set(tokens)
    merges = [m for m in metadata["tokenizer.ggml.merges"] if {*m.split(" "), m.replace(" ", "")} <= known]

    def fill(writer: GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(tokens)
        writer.add_token_types(metadata["tokenizer.ggml.token_type"][:COUNT])
        writer.add_token_merges(merges)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        for name, value in options.items():
            getattr(writer, f"add_{name}")(value)

    return fill


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2", "tekken"])
def test_splits(pre: str, tmp_path: Path) -> None:
    ours, theirs = both(written(tmp_path, byte_pairs(pre)))
    for text in TEXTS:
        assert ours.encode(text).tokens.tolist() == [theirs(text).input_ids]


def test_what_begins_and_ends_a_text(tmp_path: Path) -> None:
    ours = from_gguf(
        written(tmp_path, byte_pairs("gpt-2", add_bos_token=True, add_eos_token=True)), Declared()
    )
    bare = ours.encode("a b", special=False).tokens[0].tolist()
    assert ours.encode("a b").tokens.tolist() == [[1, *bare, 2]]
    assert (ours.bos, ours.eos) == (1, 2)


LETTERS = [*"abcdehlmnorstwxyz.,'", "é", "न"]
WORDS = ["th", "the", "▁the", "he", "lo", "ell", "▁h", "or", "wor", "▁w", "▁wor", "ld", "▁a", "▁▁", "▁▁▁▁"]


def sentence_pieces(writer: GGUFWriter) -> None:
    """Bytes, letters and words, each word with a score of its own."""
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *bytes_, *WORDS, "▁", *LETTERS, "<tool>"]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)])
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * (len(tokens) - 260), 4])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def test_sentence_pieces(tmp_path: Path) -> None:
    """transformers puts no space in front of a text that begins with one, nor behind an added token;
    llama.cpp does, and SentencePiece in front: neither is in these texts."""
    ours, theirs = both(written(tmp_path, sentence_pieces))
    texts = [
        "the hello world",
        "he  the    a",
        "héllo नw 👍, x",
        "other, thethe<tool>",
        "\ttab\nline",
        *TEXTS,
    ]
    for text in texts:
        if not text.startswith(" ") and "<|" not in text:
            ids = theirs(text).input_ids
            assert ours.encode(text).tokens.tolist() == [ids]
            assert ours.decode(ids[1:]) == theirs.decode(ids[1:])


def test_a_space_stands_in_front(tmp_path: Path) -> None:
    """As in llama.cpp: one more than the text begins with, and one behind a special token."""
    ours = from_gguf(written(tmp_path, sentence_pieces), Declared())
    for text, names in ((" a", ["▁", "▁a"]), ("</s>a", ["</s>", "▁a"])):
        ids = ours.encode(text, special=False).tokens[0].tolist()
        assert [ours.token(id) for id in ids] == names
    assert ours.decode(ours.encode(" a").tokens[0]) == " a"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("tokenizer.ggml.tokens"), "`tokenizer.ggml.tokens` is absent"),
        (lambda d: d.pop("tokenizer.ggml.merges"), "`tokenizer.ggml.merges` is absent"),
        (lambda d: d.pop("tokenizer.ggml.pre"), "names no known way to split a text"),
        (lambda d: d.pop("tokenizer.ggml.model"), "tokens of the kind `None` are not read"),
        (lambda d: setattr(d["tokenizer.ggml.eos_token_id"], "value", 50_000), "there are 3000 tokens"),
        (lambda d: setattr(d["tokenizer.ggml.merges"], "value", ["zq zz"]), "tokens and merges do not fit"),
    ],
)
def test_what_is_wrong_is_said(change: Callable[[Any], None], said: str, tmp_path: Path) -> None:
    def fill(writer: GGUFWriter) -> None:
        byte_pairs("gpt-2")(writer)
        change(writer.kv_data[0])

    with pytest.raises(CompileError) as caught:
        from_gguf(written(tmp_path, fill), Declared())
    (found,) = caught.value.diagnostics
    assert said in found.message and found.span is not None
