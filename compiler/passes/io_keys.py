"""The keys of `io:` and of the tables in it: texts, pictures, sounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from compiler.ir.values import Value


@dataclass(frozen=True)
class IoKey:
    """A key of `io`: what it is for, what its value is in words, and whether a value is that.

    fields: the keys of a value that is a mapping.
    """

    meaning: str
    kind: str
    fits: Callable[[Value], bool]
    fields: Mapping[str, IoKey] = field(default_factory=lambda: MappingProxyType({}))


def _is_id(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_ids(value: Value) -> bool:
    return _is_id(value) or (isinstance(value, tuple) and bool(value) and all(map(_is_id, value)))


def _is_list(value: Value) -> bool:
    return isinstance(value, tuple) and all(map(_is_id, value))


def _is_words(value: Value) -> bool:
    return isinstance(value, tuple) and all(_is_list(word) and word for word in value)


def _is_bool(value: Value) -> bool:
    return isinstance(value, bool)


def _is_text(value: Value) -> bool:
    return isinstance(value, str) and bool(value)


def _holds(*parts: str) -> Callable[[Value], bool]:
    return lambda value: isinstance(value, str) and all(part in value for part in parts)


def _is_texts(value: Value) -> bool:
    return isinstance(value, tuple) and all(map(_is_text, value))


def _is_count(value: Value) -> bool:
    return _is_id(value) and value > 0


def _is_size(value: Value) -> bool:
    return _is_count(value) or (isinstance(value, tuple) and len(value) == 2 and all(map(_is_count, value)))


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float | Fraction) and not isinstance(value, bool)


def _is_numbers(value: Value) -> bool:
    return isinstance(value, tuple) and bool(value) and all(map(_is_number, value))


def _nothing(value: Value) -> bool:
    return False


_ID = ("a token's id, a whole number", _is_id)
_IDS = ("a token's id or a list of ids", _is_ids)
_LIST = ("a list of token ids", _is_list)

_COUNT = ("a whole number above 0", _is_count)
_BOOL = ("true or false", _is_bool)
_TEXT = ("a text", _is_text)
_SIZE = ("a whole number above 0, or two", _is_size)
_NUMBERS = ("a list of numbers, one for each channel", _is_numbers)

ROLES: Final = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")
INTERPOLATIONS: Final = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")

_TOKENIZER: Final = {
    "special": IoKey(
        "The tokens that are no text, by their roles.",
        f"a mapping of {', '.join(ROLES)} to tokens",
        _nothing,
        {role: IoKey(f"The token that is {role}.", *_TEXT) for role in ROLES},
    ),
    "single": IoKey("What stands around a text: `[CLS] $A [SEP]`.", "a text with $A in it", _holds("$A")),
    "pair": IoKey(
        "What stands around two texts: `[CLS] $A [SEP] $B:1 [SEP]:1`.",
        "a text with $A and $B in it",
        _holds("$A", "$B"),
    ),
    "lower": IoKey("Texts are read in lower case.", *_BOOL),
    "split": IoKey(
        "How a text becomes words, which alone are merged.",
        "the name of a known way (gpt-2), or a regular expression whose matches they are",
        _is_text,
    ),
    "length": IoKey("Every text is padded to this many tokens.", *_COUNT),
    "size": IoKey("Tokens in the vocabulary, where a file of merges holds more.", *_COUNT),
}

_IMAGE: Final = {
    "resize": IoKey("The shorter edge of a picture, or its height and width.", *_SIZE),
    "crop": IoKey("The edge, or the height and width, of what is cut from the middle.", *_SIZE),
    "interpolation": IoKey(
        "How a picture is resized.", f"one of {', '.join(INTERPOLATIONS)}", lambda v: v in INTERPOLATIONS
    ),
    "mean": IoKey("What is subtracted from each channel, of pictures between 0 and 1.", *_NUMBERS),
    "std": IoKey("What each channel is divided by then.", *_NUMBERS),
}

_AUDIO: Final = {
    "rate": IoKey("Samples a second.", *_COUNT),
    "mels": IoKey("Bands of the mel scale.", *_COUNT),
    "window": IoKey("Samples of a Fourier transform.", *_COUNT),
    "hop": IoKey("Samples from one frame to the next.", *_COUNT),
    "length": IoKey("Samples that the model hears at once.", *_COUNT),
}


def _table(meaning: str, fields: Mapping[str, IoKey]) -> IoKey:
    return IoKey(meaning, f"a mapping of {', '.join(fields)}", _nothing, MappingProxyType(dict(fields)))


IO: Final[Mapping[str, IoKey]] = MappingProxyType(
    {
        "tokenizer": _table("What tokenizer files leave open.", _TOKENIZER),
        "image": _table("How pictures become `pixels`.", _IMAGE),
        "audio": _table("How sound becomes log-mel frames.", _AUDIO),
        "labels": IoKey("The names of the classes.", "a list of texts", _is_texts),
        "pairs": IoKey(
            "Whether an image's texts share its probability, or each pair has its own.",
            "`exclusive` or `independent`",
            lambda value: value in ("exclusive", "independent"),
        ),
        "start": IoKey("The tokens that a sequence begins with when none are given.", *_IDS),
        "eos": IoKey("The tokens that end a sequence.", *_IDS),
        "pad": IoKey("The token that fills rows which have ended.", *_ID),
        "forced_start": IoKey("The token that always follows a single start token.", *_ID),
        "forced_eos": IoKey("The tokens of which one stands last where the length is used up.", *_IDS),
        "suppress": IoKey("Tokens that are never generated.", *_LIST),
        "begin_suppress": IoKey("Tokens that are not generated first.", *_LIST),
        "bad_words": IoKey(
            "Sequences of tokens that are never completed.", "a list of lists of token ids", _is_words
        ),
        "no_repeat_ngram": IoKey("No sequence of this many tokens is generated twice.", "a count", _is_id),
        "min_length": IoKey("No end before this many tokens, prompt included.", "a count", _is_id),
        "renormalize": IoKey(
            "Scores of beams are probabilities again after such rules.",
            *_BOOL,
        ),
    }
)
