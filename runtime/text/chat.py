"""Chat templates: messages as the prompt that a model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from compiler.diagnostics.diagnostic import fail
from runtime.text.files import read

TEMPLATE: Final = "chat_template.jinja"


def find_template(file: Path | None, config: Mapping[str, Any]) -> str | None:
    """The template of its own file, else that of tokenizer_config.json."""
    if file is not None:
        return read(file)
    found = config.get("chat_template")
    if isinstance(found, list):  # several, by name
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def chat_prompt(
    template: str | None,
    messages: Sequence[Mapping[str, Any]],
    *,
    special: Mapping[str, str],
    add_generation_prompt: bool = True,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """The prompt of a conversation, special tokens and all: encode it with `special=False`.

    messages: each with `role` and `content`. special: roles and their tokens, as of a Tokenizer.
    add_generation_prompt: end where the model is to answer. tools: JSON schemas of functions it may call.
    Raises CompileError where there is no template, or it refuses, or does what a template must not.
    """
    from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError

    from runtime.text.sandbox import render

    if template is None:
        raise fail(
            "usage", "this model has no chat template: it continues texts", None, help="use `generate`"
        )
    values = {
        "messages": _plain(messages),
        "tools": None if tools is None else _plain(tools),
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
        **{f"{role}_token": token for role, token in special.items()},
    }
    try:
        return render(template, values)
    except TemplateSyntaxError as error:
        raise fail("unreadable", f"the chat template's line {error.lineno}: {error.message}", None) from None
    except SecurityError as error:
        message = f"the chat template does what a template must not: {error}"
        raise fail("checkpoint-format", message, None) from None
    except TemplateError as error:
        raise fail("usage", f"the chat template refuses these messages: {error}", None) from None
    except Exception as error:  # noqa: BLE001 - what a stranger's expressions raise
        kind = type(error).__name__
        raise fail("unreadable", f"the chat template fails with {kind}: {error}", None) from None


def _plain(data: Any) -> Any:
    """A copy made of JSON alone: a template is not given objects, whose methods it could call."""
    try:
        return json.loads(json.dumps(data))
    except (TypeError, ValueError) as error:
        raise fail(
            "usage", f"messages are made of texts, numbers, lists and mappings: {error}", None
        ) from None
