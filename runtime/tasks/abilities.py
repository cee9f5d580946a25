"""Which tasks a model can do, by its signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from compiler.diagnostics.diagnostic import fail
from runtime.tasks.signature import Signature


@dataclass(frozen=True)
class Ability:
    """What a task needs of a model: in words, and as a question to its signature."""

    needs: str
    fits: Callable[[Signature], bool]


def abilities(signature: Signature) -> tuple[str, ...]:
    """The tasks that a model can do."""
    return tuple(task for task, ability in TASKS.items() if ability.fits(signature))


def require(signature: Signature, task: str) -> None:
    """Raise CompileError, naming what would work, unless a model can do a task."""
    if TASKS[task].fits(signature):
        return
    others = abilities(signature)
    works = ", ".join(f"`{name}`" for name in others) or "none of the tasks: call it from Python"
    message = f"`{task}` needs {TASKS[task].needs}; {signature}"
    raise fail("wrong-model", message, None, help=f"what works with `{signature.name}`: {works}")


def continues_text(signature: Signature) -> bool:
    """A decoder alone: tokens in, the next token's logits out, earlier ones remembered."""
    return signature.is_cached and signature.takes("tokens", "int", 2) and signature.gives("logits", 3)


def rewrites_text(signature: Signature) -> bool:
    """An encoder that reads tokens, and a decoder."""
    return signature.takes("source", "int", 2) and _decodes(signature)


def tags_tokens(signature: Signature) -> bool:
    """A class for each token."""
    return signature.task == "token-classification" and _judges_tokens(signature)


def _fills(signature: Signature) -> bool:
    return signature.task != "token-classification" and _judges_tokens(signature)


def _judges_tokens(signature: Signature) -> bool:
    return signature.takes("tokens", "int", 2) and signature.gives("logits", 3) and not signature.is_cached


def _decodes(signature: Signature) -> bool:
    return signature.method_gives("encode", "memory") and signature.method_gives("decode", "logits")


def embeds_texts(signature: Signature) -> bool:
    """A vector for each token, or for each text."""
    return signature.takes("tokens", "int", 2) and (
        signature.gives("hidden", 3) or signature.method_gives("encode_text", "text_features")
    )


def embeds_images(signature: Signature) -> bool:
    """A vector for each image."""
    return signature.takes("pixels", "float", 4) and (
        signature.gives("pooled", 2)
        or signature.gives("hidden", 3)
        or signature.method_gives("encode_image", "image_features")
        or signature.method_gives("encode", "pooled")
    )


def _classifies(signature: Signature) -> bool:
    given = signature.takes("tokens", "int", 2) or signature.takes("pixels", "float", 4)
    return (given and signature.gives("logits", 2)) or tags_tokens(signature)


def _compares(signature: Signature) -> bool:
    return (
        signature.takes("pixels", "float", 4)
        and signature.takes("tokens", "int", 2)
        and signature.gives("logits_per_image", 2)
    )


def _reconstructs(signature: Signature) -> bool:
    return (
        signature.takes("pixels", "float", 4)
        and signature.takes("noise", "float", 2)
        and signature.gives("mask", 2)
        and signature.method_gives("reconstruct", "pixels")
    )


def _transcribes(signature: Signature) -> bool:
    return signature.takes("source", "float", 3) and _decodes(signature)


TASKS: Final[Mapping[str, Ability]] = MappingProxyType(
    {
        "generate": Ability(
            "a model that writes text, token by token", lambda s: continues_text(s) or rewrites_text(s)
        ),
        "chat": Ability("a model that continues a text, token by token", continues_text),
        "fill-mask": Ability("a model that guesses the hidden tokens of a text", _fills),
        "embed": Ability(
            "a model that gives vectors of texts or images", lambda s: embeds_texts(s) or embeds_images(s)
        ),
        "classify": Ability("a model that gives a class to a text, its tokens, or an image", _classifies),
        "zero-shot": Ability("a model that compares images with texts", _compares),
        "reconstruct": Ability("a model that hides parts of an image and redraws them", _reconstructs),
        "translate": Ability("an encoder that reads text, with a decoder that writes it", rewrites_text),
        "transcribe": Ability("an encoder that hears sound, with a decoder that writes text", _transcribes),
    }
)
