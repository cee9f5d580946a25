"""Text while it is written: pieces that never end within a letter and together are the whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from torch import Tensor, nn

from compiler.diagnostics.diagnostic import fail
from runtime.generation.api import stream
from runtime.generation.interface import interface_of
from runtime.generation.options import MODEL, Ids
from runtime.text.load import load_tokenizer
from runtime.text.tokenizer import Tokenizer

#: A byte as a token, in vocabularies that spell letters outside of them so.
_BYTE: Final = re.compile(r"<0x[0-9A-F]{2}>\Z")
#: What stands for bytes that are no letter, or not yet one.
_UNFINISHED: Final = "\ufffd"
#: Tokens that are decoded again with each new one; twice as many, at most.
_WINDOW: Final = 32


class TextStream:
    """The text of tokens that come one by one. prompt: the ids before them, whose text is not repeated.

    What `push` and at last `finish` give is, joined, what `decode` gives of all ids behind what it gives of
    the prompt; a text that may still change with the next token waits for it.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Iterable[int] = ()) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.backend.get_added_tokens_decoder()
        self._silent = {id for id, token in added.items() if token.special}
        self._ids = [id for id in prompt if id not in self._silent]
        self._said = self._settled()

    def push(self, id: int) -> str:
        """The text that is certain with one more token, as far as it was not given before."""
        if id in self._silent:
            return ""
        self._ids.append(id)
        said, self._said = self._said, self._settled()
        piece = self._text(len(self._ids))[said : self._said]
        self._slide()
        return piece

    def finish(self) -> str:
        """The rest, when no token follows."""
        text = self._text(len(self._ids))
        said, self._said = self._said, len(text)
        return text[said:]

    def _text(self, count: int) -> str:
        return self.tokenizer.decode(self._ids[:count])

    def _settled(self) -> int:
        """How much of the text no later token changes.

        Bytes that are tokens are read together, and as no letters where one of them is wrong: they wait for
        the end of their run.
        """
        count = len(self._ids)
        while count and _BYTE.match(self.tokenizer.token(self._ids[count - 1]) or ""):
            count -= 1
        text = self._text(count)
        return len(text) - text.endswith(_UNFINISHED)

    def _slide(self) -> None:
        """Forget tokens whose text is said, so that a step costs the same however long the text is.

        How a text begins may be special (a space is left out): something of it has to stay in front.
        """
        if len(self._ids) < 2 * _WINDOW:
            return
        ids, said = self._ids, self._said
        self._ids = ids[-_WINDOW:]
        self._said = self._settled()
        if not self._text(len(self._ids))[: self._said].strip():
            self._ids, self._said = ids, said


def stream_text(  # noqa: PLR0913 - what people may ask for, each by name
    model: nn.Module,
    prompt: str | Tensor,
    *,
    tokenizer: Tokenizer | None = None,
    special: bool = True,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    eos: Ids = MODEL,
    seed: int | None = None,
) -> Iterator[str]:
    """What a model writes, piece by piece; joined, the text of all its tokens.

    prompt: the text to continue, or for an encoder the text that it reads; a tensor is given to the encoder
    as it stands (float[1, ...], features).
    tokenizer: left out, that of the model's own files. special: the prompt gets the tokens that begin a text;
    a chat's prompt has them.
    Everything else as for `generate`.
    Raises CompileError as `generate` and `load_tokenizer` do.
    """
    tokenizer = load_tokenizer(model) if tokenizer is None else tokenizer
    given = prompt if isinstance(prompt, Tensor) else tokenizer.encode(prompt, special=special).tokens
    encodes = interface_of(model).encoder is not None
    if isinstance(prompt, Tensor) and not encodes:
        raise fail("usage", "only an encoder reads a tensor; this model continues texts", None)
    starts = not encodes and given.numel() > 0
    steps = stream(
        model,
        given if starts else None,
        source=given if encodes else None,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        eos=eos,
        seed=seed,
    )
    return _pieces(TextStream(tokenizer, given[0].tolist() if starts else ()), steps)


def _pieces(text: TextStream, steps: Iterator[Tensor]) -> Iterator[str]:
    for token in steps:
        if piece := text.push(int(token)):
            yield piece
    if piece := text.finish():
        yield piece
