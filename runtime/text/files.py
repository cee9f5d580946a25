"""Tokenizers from files: tokenizer.json, or a vocabulary with or without merges."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordPiece

from compiler.diagnostics.diagnostic import CompileError, fail
from compiler.source.text import SourceFile, Span, display_name
from compiler.weights.readers.strict_json import JsonFault, loads
from runtime.text.declared import Declared
from runtime.text.splits import LETTERS, SPLITS

MAX_DEPTH: Final = 64
#: Marks the end of a word in vocabularies that mark it at all.
WORD_END: Final = "</w>"
#: Begins a piece that continues a word, in a WordPiece vocabulary.
CONTINUES: Final = "##"

Merges = list[tuple[str, str]]


def from_json(path: Path) -> Tokenizer:
    """tokenizer.json, without the padding and truncation that it may carry."""
    text = read(path)
    try:
        found = Tokenizer.from_str(text)
    except Exception as error:  # noqa: BLE001 - the library raises nothing more precise
        raise damaged(path, f"not a tokenizer: {error}") from None
    found.no_padding()
    found.no_truncation()
    return found


def from_merges(vocab: Path, merges: Path, said: Declared) -> Tokenizer:
    """vocab.json and merges.txt: pairs of byte-level symbols, merged in order."""
    ids = read_json(vocab)
    if not ids or not all(isinstance(i, int) and i >= 0 for i in ids.values()):
        raise damaged(vocab, "not a vocabulary: a JSON object of tokens and their ids")
    lines = read(merges).split("\n")
    return byte_pairs(ids, _pairs(merges, lines[lines[0].startswith("#version") :]), said, vocab)


def from_packed_merges(path: Path, said: Declared) -> Tokenizer:
    """A gz of merges alone, whose order is the vocabulary's: bytes, bytes that end a word, merges, specials.

    The first line is a comment, and merges behind the vocabulary's size (`size`) are not used.
    """
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise damaged(path, f"not packed text: {error}") from None
    specials = [t for t in said.single.split() if not t.startswith("$")]
    letters = list(alphabet().values())
    count = None if said.size is None else said.size - 2 * len(letters) - len(specials)
    merges = _pairs(path, lines[1:])[:count]
    names = [*letters, *(c + WORD_END for c in letters), *(a + b for a, b in merges), *specials]
    return byte_pairs({name: i for i, name in enumerate(names)}, merges, said, path)


def byte_pairs(ids: Mapping[str, int], merges: Merges, said: Declared, path: Path) -> Tokenizer:
    """Byte-level BPE. The spec tells the words: by the name of a known way to split, or as the matches of
    an expression; what is between those is left out.
    """
    if said.split is None:
        raise damaged(
            path,
            "how a text is split into words stands in tokenizer.json alone, or in the spec",
            help="write tokenizer.json, or add `io: {tokenizer: {split: gpt-2}}` where it was made so",
        )
    ends = next((WORD_END for token in ids if token.endswith(WORD_END)), "")
    try:
        model = BPE(dict(ids), merges, end_of_word_suffix=ends, unk_token=said.special.get("unk"))
    except Exception as error:  # noqa: BLE001 - the library raises nothing more precise
        raise damaged(path, f"not a vocabulary with its merges: {error}") from None
    made = Tokenizer(model)
    if said.lower:
        spaces = normalizers.Replace(Regex(r"\s+"), " ")
        made.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    made.pre_tokenizer = SPLITS[said.split].steps() if said.split in SPLITS else _matches(said.split)
    steps: list[Any] = [decoders.ByteLevel()]
    if ends:
        steps += [decoders.Replace(ends, " "), decoders.Strip(" ", 0, 1)]
    made.decoder = decoders.Sequence(steps)
    return made


def _matches(split: str) -> pre_tokenizers.PreTokenizer:
    """The matches of an expression, and the letters of bytes."""
    try:
        words = pre_tokenizers.Split(Regex(split), behavior="removed", invert=True)
    except Exception as error:  # noqa: BLE001 - the library raises nothing more precise
        known = ", ".join(SPLITS)
        message = f"`io.tokenizer.split` is neither a known way to split nor an expression: {error}"
        raise fail("bad-value", message, None, help=f"known are {known}") from None
    return pre_tokenizers.Sequence([words, LETTERS])


def from_words(path: Path, said: Declared) -> Tokenizer:
    """vocab.txt: WordPiece, one piece a line.

    A vocabulary without pieces that continue a word, all of single letters, is read letter by letter.
    Case is kept where `lower` is not said and a piece has an upper-case letter.
    """
    pieces = read(path).rstrip("\n").split("\n")
    pieces = [piece.rstrip("\r") for piece in pieces]
    if len(set(pieces)) != len(pieces):
        twice = next(p for i, p in enumerate(pieces) if p in pieces[:i])
        raise damaged(path, f"the piece `{twice}` stands twice")
    unknown = said.special.get("unk", "[UNK]")
    if unknown not in pieces:
        raise damaged(path, f"not a vocabulary of word pieces: it lacks the unknown token `{unknown}`")
    ordinary = set(pieces) - set(said.special.values())
    lower = said.lower if said.lower is not None else not any(p != p.lower() for p in ordinary)
    made = Tokenizer(WordPiece({p: i for i, p in enumerate(pieces)}, unk_token=unknown))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if all(len(p) == 1 for p in ordinary):
        letters = pre_tokenizers.Split(Regex("."), behavior="isolated")
        made.pre_tokenizer = pre_tokenizers.Sequence([made.pre_tokenizer, letters])
    made.decoder = decoders.WordPiece(prefix=CONTINUES)
    return made


def alphabet() -> dict[int, str]:
    """The letter that byte-level vocabularies write for each byte, in their order (GPT-2's encoder.py)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CompileError."""
    try:
        value = loads(read(path).encode("utf-8"), MAX_DEPTH)
    except JsonFault as error:
        raise damaged(path, f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise damaged(path, "not a JSON object")
    return value


def read(path: Path) -> str:
    """A file's text. Raises CompileError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(path, f"cannot be read: {error}") from None


def damaged(path: Path, message: str, help: str = "") -> CompileError:
    """A fault of a tokenizer's file."""
    return fail("unreadable", message, Span(SourceFile(display_name(path), ""), 0, 0, 0, 0), help=help)


def _pairs(path: Path, lines: Iterable[str]) -> Merges:
    merges: Merges = []
    for line in lines:
        left, space, right = line.rstrip("\r").partition(" ")
        if space and " " not in right:
            merges.append((left, right))
        elif line:
            raise damaged(path, f"a merge is two tokens with a space between, not {line[:60]!r}")
    return merges
