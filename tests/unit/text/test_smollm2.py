"""The tokenizer in SmolLM2's GGUF file, against transformers' reading of the same file."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from runtime.text import Tokenizer, load_tokenizer
from tests.artifacts import need
from tests.unit.text.samples import TEXTS


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    return load_tokenizer(need("smollm2"))


@pytest.fixture(scope="module")
def theirs() -> Any:
    """Theirs splits words as GPT-2's does, whatever the file says; the published tokenizer takes single
    digits out first, and so does llama.cpp (`smollm`)."""
    file = need("smollm2")
    found = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    backend = found.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return found


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_equal_ids(ours: Tokenizer, theirs: Any, text: str) -> None:
    expected = theirs(text).input_ids
    assert ours.encode(text).tokens.tolist() == [expected]
    assert ours.decode(expected, skip_special=False) == theirs.decode(expected)
