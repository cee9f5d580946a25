"""Tokenizers from the metadata of a GGUF file (`tokenizer.ggml.*`): byte-level and SentencePiece's BPE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import AddedToken, decoders, normalizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from compiler.weights.readers import read_header
from runtime.text.declared import Declared
from runtime.text.files import Merges, damaged
from runtime.text.splits import SPLITS
from runtime.text.tokenizer import Tokenizer

_CONTROL: Final = 3  # tokenizer.ggml.token_type: no text
_USER: Final = 4  # text that is found before anything else
_ROLES: Final = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown", "mask": "mask"}
_SPACE: Final = "\u2581"


@dataclass(frozen=True)
class _Fields:
    """The fields `tokenizer.ggml.NAME` of a file."""

    path: Path
    metadata: Mapping[str, Any]

    def get(self, name: str) -> Any:
        return self.metadata.get(f"tokenizer.ggml.{name}")

    def array(self, name: str, kind: type) -> list[Any]:
        found = self.get(name)
        if not isinstance(found, list) or not found or not all(isinstance(item, kind) for item in found):
            raise damaged(self.path, f"`tokenizer.ggml.{name}` is absent, or no list of {kind.__name__}")
        return found

    def token(self, name: str, tokens: list[str]) -> str | None:
        """A special token, which the file gives by its id."""
        found = self.get(f"{name}_token_id")
        if found is None:
            return None
        if not isinstance(found, int) or not 0 <= found < len(tokens):
            raise damaged(
                self.path, f"`tokenizer.ggml.{name}_token_id` is {found}; there are {len(tokens)} tokens"
            )
        return tokens[found]


def from_gguf(path: Path, said: Declared) -> Tokenizer:
    """The tokenizer of a file. Raises CompileError for a kind that is not read."""
    fields = _Fields(path, read_header(path).metadata)
    tokens = fields.array("tokens", str)
    found = {role: fields.token(name, tokens) for role, name in _ROLES.items()}
    special = {**said.special, **{role: token for role, token in found.items() if token is not None}}
    kind = fields.get("model")
    if kind == "gpt2":
        backend = _byte_pairs(fields)
    elif kind == "llama":
        backend = _scored_pairs(fields, tokens, special.get("unk"))
    else:
        raise damaged(path, f"tokens of the kind `{kind}` are not read from GGUF; `gpt2` and `llama` are")
    for type, is_special in ((_CONTROL, True), (_USER, False)):
        names = _of_type(tokens, fields.get("token_type"), type)
        added = [AddedToken(name, normalized=False, special=is_special) for name in names]
        (backend.add_special_tokens if is_special else backend.add_tokens)(added)
    _frame(backend, fields, special, begins=kind == "llama")
    template = fields.metadata.get("tokenizer.chat_template")
    return Tokenizer(backend, special, said.length, template if isinstance(template, str) else None)


def _byte_pairs(fields: _Fields) -> tokenizers.Tokenizer:
    """GPT-2's kind: bytes as letters, and merges in order."""
    name = fields.get("pre")
    if name not in SPLITS:
        known = ", ".join(SPLITS)
        message = (
            f"`tokenizer.ggml.pre` is `{name}`: it names no known way to split a text; known are {known}"
        )
        raise damaged(fields.path, message)
    split = SPLITS[name]
    merges = [(m.partition(" ")[0], m.partition(" ")[2]) for m in fields.array("merges", str)]
    made = tokenizers.Tokenizer(_fitting(fields, lambda ids: BPE(ids, merges, ignore_merges=split.whole)))
    made.pre_tokenizer = split.steps()
    made.decoder = decoders.ByteLevel()
    return made


def _scored_pairs(fields: _Fields, tokens: list[str], unknown: str | None) -> tokenizers.Tokenizer:
    """SentencePiece's BPE: of two neighbours, those whose union scores highest are merged first.

    A text is one word, its spaces written as a sign, one of them in front of it (and behind a special token);
    a letter that is no token is its bytes.
    """
    scores = fields.array("scores", float)
    if len(scores) != len(tokens):
        raise damaged(fields.path, f"{len(tokens)} tokens have {len(scores)} scores")
    merges = _implied_merges(tokens, scores)
    options = {"unk_token": unknown, "fuse_unk": True, "byte_fallback": True}
    made = tokenizers.Tokenizer(_fitting(fields, lambda ids: BPE(ids, merges, **options)))
    leads = fields.get("add_space_prefix") is not False
    spaces = normalizers.Replace(" ", _SPACE)
    made.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), spaces]) if leads else spaces
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if leads else [])])
    return made


def _implied_merges(tokens: list[str], scores: Sequence[float]) -> Merges:
    """Every way to make a token of two others, the best scores first; ties as the tokens stand."""
    known = set(tokens)
    pairs = [
        (-score, left, right)
        for token, score in zip(tokens, scores, strict=True)
        for left, right in ((token[:i], token[i:]) for i in range(1, len(token)))
        if left in known and right in known
    ]
    return [(left, right) for _, left, right in sorted(pairs, key=lambda pair: pair[0])]


def _fitting(fields: _Fields, make: Callable[[dict[str, int]], BPE]) -> BPE:
    """A model made of the tokens' ids."""
    try:
        return make({token: id for id, token in enumerate(fields.array("tokens", str))})
    except Exception as error:  # noqa: BLE001 - the library raises nothing more precise
        raise damaged(fields.path, f"tokens and merges do not fit: {error}") from None


def _of_type(tokens: list[str], types: Any, wanted: int) -> list[str]:
    return [token for token, type in zip(tokens, types or (), strict=False) if type == wanted]


def _frame(
    backend: tokenizers.Tokenizer, fields: _Fields, special: Mapping[str, str], *, begins: bool
) -> None:
    """The tokens around a text. begins: whether a file that says nothing means that bos stands first."""
    said = {"bos": fields.get("add_bos_token"), "eos": fields.get("add_eos_token")}
    first = [special["bos"]] if "bos" in special and (begins if said["bos"] is None else said["bos"]) else []
    last = [special["eos"]] if "eos" in special and said["eos"] else []
    backend.post_processor = TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, *first, "$B:1", *last],
        special_tokens=[(name, backend.token_to_id(name)) for name in {*first, *last}],
    )
