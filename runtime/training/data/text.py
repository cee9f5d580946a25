"""Running text: files as one stream of tokens, cut into windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import torch
from pydantic import BeforeValidator
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.syntax.yaml import Located
from runtime.training.data.common import IGNORED, Data, Example, FileSection, Source
from runtime.training.fields import Flag, MaybeShare, MaybeWord, Positive, Word
from runtime.training.tokenizer import Tokenizing

MASKED: Final = 0.15


class TextSection(FileSection):
    """files: a glob below a folder. tagged: the mark between a word and a tag that is dropped (`word/TAG`);
    one space is left between words, and no empty line. Without it the text is read as it is.

    length: tokens in a window. objective: `next` (each token from those before it) or `masked`
    (a share of them hidden, `masked`, by default MASKED; Devlin et al. 2019). lower: letters in lower case.
    """

    reads_text: ClassVar[bool] = True
    files: Word = "*.txt"
    encoding: Word = "utf-8"
    tagged: MaybeWord = None
    lower: Flag = False
    length: Positive
    objective: Annotated[
        Literal["next", "masked"], BeforeValidator(lambda v: v.value if isinstance(v, Located) else v)
    ] = "next"
    masked: MaybeShare = None

    def read(self, tokenizer: Tokenizing | None) -> Data:
        """Windows of the text; the last lines of each file are held out."""
        if tokenizer is None:
            raise fail("missing-field", "text needs a `tokenizer`", self.span)
        train, valid = self.texts()
        tokenizer.learn([train])
        parts = [torch.tensor(tokenizer.ids(part)) for part in (train, valid)]
        if min(map(len, parts)) <= 2 * self.length:
            counts = " and ".join(str(len(part)) for part in parts)
            message = (
                f"the text has {counts} tokens to train on and held out: too few for windows of {self.length}"
            )
            raise fail("bad-value", message, self.span, help="use more text, or a smaller `length`")
        mask = None
        if self.objective == "masked":
            share = MASKED if self.masked is None else self.masked
            mask = Masking(share, tokenizer.size, tokenizer.id_of("[MASK]", self.span))
        train_windows, valid_windows = (Windows(part, self.length, mask) for part in parts)
        facts = {"tokens": tokenizer.size, "length": self.length}
        per_token = len(valid) / len(parts[1])
        return Data(
            train_windows,
            valid_windows,
            facts=facts,
            tokenizer=tokenizer,
            characters_per_token=per_token,
            ahead=1 if mask is None else 0,
        )

    def idle(self) -> Mapping[str, str]:
        """A share of nothing."""
        if self.objective == "masked" or self.masked is None:
            return {}
        return {"masked": "nothing is hidden with `objective: next`: say `objective: masked`"}

    def texts(self) -> tuple[str, str]:
        """The text to train on and the text held out."""
        train: list[str] = []
        valid: list[str] = []
        for path in self._paths():
            lines = self._lines(path)
            held = round(len(lines) * self.held_out)
            train += lines[: len(lines) - held]
            valid += lines[len(lines) - held :]
            if self.limit is not None and min(len(train), len(valid)) >= self.limit:
                break
        if self.limit is not None:
            train, valid = train[: self.limit], valid[: self.limit]
        return "\n".join(train), "\n".join(valid)

    def _paths(self) -> list[Path]:
        found = self.found()
        try:
            paths = [found] if found.is_file() else sorted(p for p in found.glob(self.files) if p.is_file())
        except (ValueError, NotImplementedError):
            cure = "name the folder in `path`, and in `files` what lies below it, as `*.txt` or `**/*.txt`"
            message = f"`{self.files}` is no pattern of files below a folder"
            raise fail("bad-value", message, self.span, help=cure) from None
        if not paths:
            raise fail("not-found", f"no file below `{found}` is named `{self.files}`", self.span)
        return paths

    def _lines(self, path: Path) -> list[str]:
        try:
            text = path.read_bytes().decode(self.encoding)
        except (OSError, UnicodeDecodeError, LookupError) as error:
            raise self.unreadable(path, error) from None
        text = text.lower() if self.lower else text
        mark = self.tagged
        if mark is None:
            return text.removesuffix("\n").split("\n") if text else []
        lines = [" ".join(word.rsplit(mark, 1)[0] for word in line.split()) for line in text.splitlines()]
        return [line for line in lines if line]


class Masking:
    """Hides tokens: of those chosen, 80 % become the mask, 10 % any token, 10 % stay (Devlin et al. 2019)."""

    def __init__(self, share: float, tokens: int, mask: int) -> None:
        self.share, self.tokens, self.mask = share, tokens, mask

    def __call__(self, tokens: Tensor, rng: torch.Generator) -> Example:
        """tokens: int[T]. labels are the tokens chosen, elsewhere IGNORED; at least one is chosen."""
        dice = torch.rand(2, len(tokens), generator=rng)
        chosen = dice[0] < self.share
        chosen[int(dice[0].argmin())] = True
        anything = torch.randint(self.tokens, (len(tokens),), generator=rng)
        hidden = torch.where(dice[1] < 0.8, self.mask, torch.where(dice[1] < 0.9, anything, tokens))
        return {
            "tokens": torch.where(chosen, hidden, tokens),
            "labels": torch.where(chosen, tokens, IGNORED),
        }


class Windows:
    """Windows of a stream of tokens. In training each begins anywhere within its stretch."""

    def __init__(self, stream: Tensor, length: int, mask: Masking | None) -> None:
        self.stream, self.length, self.mask = stream, length, mask

    def __len__(self) -> int:
        return len(self.stream) // self.length - 1

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """tokens and labels, int[T]. A model that predicts the next token shifts them itself."""
        shift = 0 if rng is None else int(torch.randint(self.length, (1,), generator=rng))
        tokens = self.stream[index * self.length + shift :][: self.length]
        if self.mask is None:
            return {"tokens": tokens, "labels": tokens}
        return self.mask(tokens, rng or torch.Generator().manual_seed(index))

    def sources(self) -> Iterator[Source]:
        """The stream."""
        yield self.stream
