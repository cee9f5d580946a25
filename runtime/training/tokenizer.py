"""Tokenizers that a recipe trains or takes, through the tokenizers library."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from compiler.diagnostics.diagnostic import fail
from compiler.source.text import Span
from runtime.training.fields import KindSection, Positive, Word, Words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN: Final = "[UNK]"
#: What transformers calls the special tokens of these names.
ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pad_token": "[PAD]",
        "unk_token": UNKNOWN,
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
)


class Tokenizing:
    """A tokenizer on its way: `learn` gives it its vocabulary, unless it has one."""

    def __init__(self, section: TokenizerSection, tokenizer: Tokenizer | None = None) -> None:
        self._section = section
        self._tokenizer = tokenizer

    @property
    def backend(self) -> Tokenizer:
        """The library's object."""
        assert self._tokenizer is not None, "learn comes first"
        return self._tokenizer

    @property
    def size(self) -> int:
        """How many tokens there are, special ones included."""
        return int(self.backend.get_vocab_size())

    def learn(self, texts: Sequence[str]) -> None:
        """Make the vocabulary from texts; a tokenizer that has one keeps it."""
        if self._tokenizer is None:
            self._tokenizer = self._section.train(texts)

    def ids(self, text: str) -> list[int]:
        """The tokens of a text, without those that mark its ends."""
        return list(self.backend.encode(text, add_special_tokens=False).ids)

    def whole(self, texts: Sequence[str], length: int) -> list[list[int]]:
        """The tokens of whole texts, with those that mark their ends, at most `length` each."""
        self.backend.enable_truncation(length)
        found = [list(row.ids) for row in self.backend.encode_batch(list(texts))]
        self.backend.no_truncation()
        return found

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        return str(self.backend.decode(list(ids), skip_special_tokens=True))

    def id_of(self, token: str, span: Span) -> int:
        """The number of a special token. Raises CompileError where there is none."""
        found = self.backend.token_to_id(token)
        if found is None:
            message = f"the tokenizer has no token `{token}`"
            raise fail(
                "bad-value", message, span, help=f'add it to the tokenizer\'s `special`: [..., "{token}"]'
            )
        return int(found)

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write tokenizer.json, and what transformers needs to open it; the files."""
        files = (folder / "tokenizer.json", folder / "tokenizer_config.json")
        self.backend.save(str(files[0]))
        special = {
            role: token for role, token in ROLES.items() if self.backend.token_to_id(token) is not None
        }
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
        files[1].write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        return files


class TokenizerSection(KindSection):
    """special: tokens that stand for no text, numbered from 0; those that a file lacks, behind its own."""

    special: Words = ()

    def start(self) -> Tokenizing:
        """The tokenizer, not yet trained."""
        return Tokenizing(self)

    @abstractmethod
    def train(self, texts: Sequence[str]) -> Tokenizer:
        """A tokenizer whose vocabulary comes from texts."""


class Characters(TokenizerSection):
    """Each character that occurs is a token; others become `[UNK]`."""

    def train(self, texts: Sequence[str]) -> Tokenizer:
        """The characters in order of their code points, behind the special tokens."""
        from tokenizers import Regex, Tokenizer
        from tokenizers.decoders import Fuse
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import Split

        special = list(dict.fromkeys([*self.special, UNKNOWN]))
        letters = sorted(set().union(*texts))
        vocabulary = {token: i for i, token in enumerate([*special, *letters])}
        tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = Fuse()
        tokenizer.add_special_tokens(special)
        return tokenizer


class BytePairs(TokenizerSection):
    """Pieces of words by byte-pair encoding over bytes, as GPT-2's (Radford et al. 2019).

    ends: two of the special tokens, which open and close a text.
    """

    size: Positive
    ends: Annotated[Words, Field(max_length=2)] = ()

    def train(self, texts: Sequence[str]) -> Tokenizer:
        """At most `size` tokens, special ones and the 256 bytes included."""
        from tokenizers import Tokenizer
        from tokenizers.decoders import ByteLevel as Decoder
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel
        from tokenizers.processors import TemplateProcessing
        from tokenizers.trainers import BpeTrainer

        self._check_ends()
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.decoder = Decoder()
        trainer = BpeTrainer(
            vocab_size=self.size,
            special_tokens=list(self.special),
            initial_alphabet=ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator((line for text in texts for line in text.split("\n")), trainer)
        if len(self.ends) == 2:
            first, last = self.ends
            special = [(token, tokenizer.token_to_id(token)) for token in self.ends]
            tokenizer.post_processor = TemplateProcessing(single=f"{first} $A {last}", special_tokens=special)
        return tokenizer

    def _check_ends(self) -> None:
        for token in self.ends:
            if token not in self.special or len(self.ends) != 2:
                message = f"`ends` are two of the special tokens, not {list(self.ends)}"
                raise fail("bad-value", message, self.span)


class FromFile(TokenizerSection):
    """A tokenizer.json that exists."""

    path: Word

    def start(self) -> Tokenizing:
        """The tokenizer as the file has it, without padding or truncation: the data does both."""
        from tokenizers import Tokenizer

        from runtime.training.data.common import located

        path = located(self.path, self.span, None)
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises no other type
            raise fail("unreadable", f"`{path}` is no tokenizer.json: {error}", self.span) from None
        tokenizer.add_special_tokens(list(self.special))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return Tokenizing(self, tokenizer)

    def train(self, texts: Sequence[str]) -> Tokenizer:
        """Never called: the vocabulary is the file's."""
        raise AssertionError("a tokenizer from a file is not trained")


TOKENIZERS: Final[Mapping[str, type[TokenizerSection]]] = MappingProxyType(
    {"characters": Characters, "bpe": BytePairs, "file": FromFile}
)
