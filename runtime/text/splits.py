"""How byte-level vocabularies split a text into words, by the names that GGUF files give
(llama.cpp, src/llama-vocab.cpp).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tokenizers import Regex, pre_tokenizers

#: Bytes as the letters that byte-level vocabularies write for them.
LETTERS: Final = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


@dataclass(frozen=True)
class Split:
    """Expressions, applied one after the other: a match is a word, and so is what stands between two.

    whole: a word that is in the vocabulary is one token, whatever the merges make of it.
    """

    expressions: tuple[str, ...]
    whole: bool = False

    def steps(self) -> pre_tokenizers.PreTokenizer:
        """The splits, and the letters of bytes."""
        splits = [pre_tokenizers.Split(Regex(e), behavior="isolated") for e in self.expressions]
        return pre_tokenizers.Sequence([*splits, LETTERS])


_SPACES: Final = r"\s+(?!\S)|\s+"
_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|" + _SPACES
_ENDINGS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS: Final = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS: Final = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|" + _SPACES
_SIGNS_AND_SLASH: Final = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|" + _SPACES
_LOWER_END: Final = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
_UPPER_END: Final = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"

_PLAIN: Final = Split((_GPT2,))
_SINGLE_DIGITS: Final = Split((r"\p{N}", _GPT2))
_LLAMA3: Final = Split(("|".join((_ENDINGS, _LETTERS, r"\p{N}{1,3}", _SIGNS)),), whole=True)
_QWEN2: Final = Split(("|".join((_ENDINGS, _LETTERS, r"\p{N}", _SIGNS)),))
_TEKKEN: Final = Split(("|".join((_LOWER_END, _UPPER_END, r"\p{N}", _SIGNS_AND_SLASH)),), whole=True)

#: tokenizer.ggml.pre, or a spec's `io: tokenizer: split:` -> the splits
SPLITS: Final[Mapping[str, Split]] = MappingProxyType(
    {
        "gpt-2": _PLAIN,
        "jais": _PLAIN,
        "mpt": _PLAIN,
        "olmo": _PLAIN,
        "codeshell": _SINGLE_DIGITS,
        "command-r": _SINGLE_DIGITS,
        "exaone": _SINGLE_DIGITS,
        "refact": _SINGLE_DIGITS,
        "smollm": _SINGLE_DIGITS,
        "starcoder": _SINGLE_DIGITS,
        "llama-bpe": _LLAMA3,
        "llama-v3": _LLAMA3,
        "llama3": _LLAMA3,
        "deepseek-r1-qwen": _QWEN2,
        "qwen2": _QWEN2,
        "stablelm2": _QWEN2,
        "tekken": _TEKKEN,
    }
)
