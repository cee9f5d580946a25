"""chat: the answer to a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runtime.tasks.abilities import require
from runtime.tasks.generate import DEFAULT, Choice, Prompt, Written, pieces, prompt_of, written
from runtime.tasks.opened import Opened
from runtime.text.chat import chat_prompt

Messages = Sequence[Mapping[str, str]]


def answer(opened: Opened, messages: Messages, choice: Choice = DEFAULT) -> Written:
    """The next message of a conversation.

    messages: each with `role` (system, user, assistant) and `content`, the last one the user's. Raises
    CompileError for a model of another kind and for one without a chat template.
    """
    (found,) = written(opened, _prompt(opened, messages), [messages[-1]["content"]], choice)
    return found


def stream_answer(opened: Opened, messages: Messages, choice: Choice = DEFAULT) -> Iterator[str]:
    """The same in pieces, as they come."""
    return pieces(opened, _prompt(opened, messages), choice)


def _prompt(opened: Opened, messages: Messages) -> Prompt:
    require(opened.signature, "chat")
    tokenizer = opened.tokenizer
    text = chat_prompt(tokenizer.chat_template, messages, special=tokenizer.special)
    return prompt_of(opened, [text], special=False)
