"""Pieces of text, joined, are the text, and no piece ends within a letter."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, pre_tokenizers
from tokenizers.models import BPE

import runtime
from compiler.diagnostics.diagnostic import CompileError
from runtime.text import Tokenizer, load_tokenizer
from runtime.text.streaming import TextStream
from tests.artifacts import need

TEXTS = ("👩‍👩‍👧‍👦 families 🏳️‍🌈!", "नमस्ते दुनिया", "తెలుగు భాష చాలా అందమైనది", "a plain text\n", "x\ufffdy", "")


def sentence_pieces() -> Tokenizer:
    """A vocabulary of SentencePiece's kind: a few letters, and bytes for all the others."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", *"abcdeilmnprstx", "▁a"]
    model = BPE({n: i for i, n in enumerate(names)}, [("▁", "a")], unk_token="<unk>", byte_fallback=True)
    backend = Backend(model)
    backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", "first", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    backend.add_special_tokens(["<s>", "</s>"])
    return Tokenizer(backend, {"bos": "<s>", "eos": "</s>"})


def byte_pairs() -> Tokenizer:
    return load_tokenizer(need("smollm2"))


KINDS = {"sentence pieces": sentence_pieces, "byte pairs": byte_pairs}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return KINDS[request.param]()


def pieces(tokenizer: Tokenizer, ids: list[int], prompt: int = 0) -> list[str]:
    stream = TextStream(tokenizer, ids[:prompt])
    return [*map(stream.push, ids[prompt:]), stream.finish()]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_whole(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).tokens[0].tolist()
    found = pieces(tokenizer, ids)
    assert "".join(found) == tokenizer.decode(ids) == text
    if "\ufffd" not in text:
        assert all("\ufffd" not in piece for piece in found)


def test_letters_come_as_soon_as_they_are_whole() -> None:
    """A token of the byte-level kind is held back only within a letter."""
    tokenizer = byte_pairs()
    ids = tokenizer.encode("ab 👍 నమ cd").tokens[0].tolist()
    stream = TextStream(tokenizer)
    for count, id in enumerate(ids, 1):
        stream.push(id)
        whole = tokenizer.decode(ids[:count])
        assert stream._said == len(whole.rstrip("\ufffd"))


def test_any_ids_give_what_decode_gives(tokenizer: Tokenizer) -> None:
    """Bytes that are no letters, special tokens anywhere, prompts that end within a letter."""
    random.seed(0)
    letters = [tokenizer.encode(t).tokens[0].tolist() for t in TEXTS if t]
    for _ in range(60):
        ids: list[int] = []
        while len(ids) < 230:
            start = random.randrange(4)
            ids += random.choice(letters)[start : start + random.randrange(9)]
            ids += random.choices(range(min(len(tokenizer), 400)), k=random.randrange(3))
        whole = tokenizer.decode(ids)
        assert "".join(pieces(tokenizer, ids)) == whole
        prompt = random.randrange(1, 80)
        ahead = whole.removesuffix("".join(pieces(tokenizer, ids, prompt)))
        assert tokenizer.decode(ids[:prompt]).startswith(ahead.removesuffix("\ufffd")) and ahead != whole


def test_a_step_costs_the_same_however_long_the_text() -> None:
    stream = TextStream(byte_pairs())
    for id in torch.randint(20, 40_000, [500]).tolist():
        stream.push(id)
    assert len(stream._ids) < 128


def test_a_model_writes() -> None:
    """The pieces are the text of what `generate` gives; a prompt that is no text is for encoders."""
    tokenizer: Any = byte_pairs()
    size = {"vocab": len(tokenizer), "dim": 24, "depth": 2, "heads": 3, "context": 64}
    torch.manual_seed(0)
    model = runtime.load("gpt2", weights=None, set=size)
    said: Any = {"max_new_tokens": 20, "temperature": 1.5, "seed": 3}
    prompt = "నమస్తే 👍"
    found = "".join(runtime.stream_text(model, prompt, tokenizer=tokenizer, eos=None, **said))
    tokens = tokenizer.encode(prompt).tokens
    made = runtime.generate(model, tokens, eos=None, **said)
    assert tokenizer.decode(made[0]) == prompt + found
    with pytest.raises(CompileError, match="only an encoder"):
        runtime.stream_text(model, torch.zeros(1, 4), tokenizer=tokenizer, max_new_tokens=2)


def test_a_text_that_an_encoder_reads() -> None:
    tokenizer = byte_pairs()
    size = {"vocab": len(tokenizer), "dim": 24, "depth": 1, "decoder_depth": 1, "heads": 3, "hidden": 48}
    torch.manual_seed(0)
    model = runtime.load("bart", weights=None, set=size)
    said: Any = {"max_new_tokens": 12, "temperature": 2.0, "seed": 1, "eos": None}
    found = "".join(runtime.stream_text(model, "a text 👍", tokenizer=tokenizer, **said))
    made = runtime.generate(model, source=tokenizer.encode("a text 👍").tokens, **said)
    assert found and made.shape == (1, 13) and tokenizer.decode(made[0, 1:]) == found
