"""A tokenizer of few words, as a folder of transformers holds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS: Final = (
    *SPECIAL,
    *"a the of in on cat dog rocket cup coffee photo image good bad film house tree".split(),
)


def save_tokenizer(folder: Path, more: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Write it; the same as transformers reads it. more: special tokens behind the words."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    ids = [(word, i) for i, word in enumerate(SPECIAL)]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    roles = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL}
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
    fast.add_special_tokens({"additional_special_tokens": list(more)})
    fast.save_pretrained(folder)
    return fast
