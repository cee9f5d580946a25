"""Tokenizer: texts as ids and back, over the tokenizers library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import torch

from compiler.diagnostics.diagnostic import fail

if TYPE_CHECKING:
    import tokenizers


@dataclass(frozen=True)
class Encoded:
    """Texts as ids.

    tokens: int[B, T]. mask: bool[B, T], False on padding.
    segments: int[B, T], 1 on the second text of a pair.
    cut: the rows that were longer than `truncate` and lost their end.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    segments: torch.Tensor
    cut: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tokenizer:
    """The tokens of one model. Nothing is padded or cut because a file says so.

    special: the roles bos, eos, pad, unk, mask, cls, sep and the token that plays each.
    length: every text is padded to that many tokens, where the model was trained so.
    chat_template: the Jinja2 text that turns messages into a prompt.
    """

    backend: tokenizers.Tokenizer
    special: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    length: int | None = None
    chat_template: str | None = None

    def __len__(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)

    def encode(
        self,
        text: str | Sequence[str],
        *,
        special: bool = True,
        pair: str | Sequence[str] | None = None,
        side: Literal["left", "right"] = "right",
        truncate: int | None = None,
    ) -> Encoded:
        """The ids of one text, or of several, padded to the longest (or to `length`).

        special: with the tokens that begin and end a text, as the model was trained.
        pair: a second text for each. side: where padding goes; "left" to generate from.
        truncate: the most tokens of a row; what is longer is cut and said in `cut`.
        Raises CompileError where a text is longer than `length` and nothing was said about cutting.
        """
        first = [text] if isinstance(text, str) else list(text)
        second = [pair] if isinstance(pair, str) else None if pair is None else list(pair)
        if not first or (second is not None and len(second) != len(first)):
            counts = f"{len(first)} texts" + ("" if second is None else f" and {len(second)} second ones")
            raise fail(
                "usage", f"{counts} cannot be encoded", None, help="give as many of both, and one at least"
            )
        with self._truncation(truncate):
            found = self.backend.encode_batch(
                list(zip(first, second, strict=True)) if second is not None else first,
                add_special_tokens=special,
            )
        longest = max(len(row.ids) for row in found)
        if self.length is not None and longest > self.length:
            message = f"a text of {longest} tokens is longer than the {self.length} that the model reads"
            raise fail("usage", message, None, help=f"shorten it, or pass truncate={self.length}")
        return _padded(found, self.length or longest, self.fill, side)

    def decode(self, ids: torch.Tensor | Sequence[int], *, skip_special: bool = True) -> str:
        """The text of one row of ids. skip_special: leave out the tokens that are not text."""
        row = ids.tolist() if isinstance(ids, torch.Tensor) else list(ids)
        return self.backend.decode(row, skip_special_tokens=skip_special)

    def decode_batch(self, ids: torch.Tensor, *, skip_special: bool = True) -> list[str]:
        """The text of each row of int[B, T]."""
        return self.backend.decode_batch(ids.tolist(), skip_special_tokens=skip_special)

    def token(self, id: int) -> str | None:
        """How the vocabulary spells an id; None where it has none."""
        return self.backend.id_to_token(id)

    def id(self, token: str | None) -> int | None:
        """The id of a token of the vocabulary."""
        return None if token is None else self.backend.token_to_id(token)

    @property
    def bos(self) -> int | None:
        """The id that begins a text."""
        return self.id(self.special.get("bos"))

    @property
    def eos(self) -> int | None:
        """The id that ends a text."""
        return self.id(self.special.get("eos"))

    @property
    def pad(self) -> int | None:
        """The id of padding."""
        return self.id(self.special.get("pad"))

    @property
    def mask(self) -> int | None:
        """The id of a hidden token."""
        return self.id(self.special.get("mask"))

    @property
    def mask_token(self) -> str | None:
        """How a hidden token is written in a text."""
        return self.special.get("mask")

    @property
    def fill(self) -> int:
        """What stands where the mask is False: padding, else the end, else 0."""
        return next((id for id in (self.pad, self.eos) if id is not None), 0)

    @contextmanager
    def _truncation(self, length: int | None) -> Iterator[None]:
        """Inside, the library cuts texts to a length; it keeps that as state."""
        if length is None:
            yield
            return
        self.backend.enable_truncation(length)
        try:
            yield
        finally:
            self.backend.no_truncation()


def _padded(rows: Sequence[tokenizers.Encoding], length: int, fill: int, side: str) -> Encoded:
    tokens = torch.full((len(rows), length), fill)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    segments = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        size = len(row.ids)
        at = slice(length - size, length) if side == "left" else slice(0, size)
        tokens[i, at] = torch.tensor(row.ids, dtype=torch.long)
        segments[i, at] = torch.tensor(row.type_ids, dtype=torch.long)
        mask[i, at] = True
    return Encoded(tokens, mask, segments, tuple(i for i, row in enumerate(rows) if row.overflowing))
