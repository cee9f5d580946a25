"""`io:` - what the runtime feeds a model and reads from it. None of it enters the graph.

Settings come from the spec, from a variant and from outside (`io.eos`), in that order. A key is null where
the model has nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.values import Value, spell
from compiler.passes.scope import Scope
from compiler.syntax.model_spec import ModelSpec
from compiler.syntax.schema import Value as Written
from compiler.syntax.yaml import Key, Map

SECTION: Final = "io"


@dataclass(frozen=True)
class IoKey:
    """A key of `io`: what it is for, what its value is in words, and whether a value is that."""

    meaning: str
    kind: str
    fits: Callable[[Value], bool]


def _is_id(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_ids(value: Value) -> bool:
    return _is_id(value) or (isinstance(value, tuple) and bool(value) and all(map(_is_id, value)))


def _is_list(value: Value) -> bool:
    return isinstance(value, tuple) and all(map(_is_id, value))


def _is_words(value: Value) -> bool:
    return isinstance(value, tuple) and all(_is_list(word) and word for word in value)


_ID = ("a token's id, a whole number", _is_id)
_IDS = ("a token's id or a list of ids", _is_ids)
_LIST = ("a list of token ids", _is_list)

IO: Final[Mapping[str, IoKey]] = MappingProxyType(
    {
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
            "true or false",
            lambda value: isinstance(value, bool),
        ),
    }
)


def split_settings(spec: ModelSpec, settings: Mapping[Key, Written]) -> tuple[Map, dict[Key, Written]]:
    """Settings from outside as (those of params, those of `io`). A param named io comes first."""
    params, io = Map(), dict[Key, Written]()
    for path, value in settings.items():
        head, _, rest = path.partition(".")
        if head != SECTION or head in spec.params:
            params[path] = value
        elif rest:
            io[Key(rest, path.span)] = value
        elif isinstance(value, Map):
            io.update(value)
        else:
            params[path] = value  # refused there: no param has that name
    return params, io


def io_values(written: Mapping[Key, Written], scope: Scope) -> dict[str, Value]:
    """The section's values, each checked. Reports every fault."""
    found: dict[str, Value] = {}
    for key, value in written.items():
        with scope.diagnostics.recover():
            if key not in IO:
                raise _unknown(key, scope.diagnostics)
            found[str(key)] = scope.value(value)
            entry = IO[key]
            if found[str(key)] is not None and not entry.fits(found[str(key)]):
                message = f"`{SECTION}.{key}` is {entry.kind}, not `{spell(found[str(key)])}`"
                scope.diagnostics.error("wrong-type", message, value.span, help=entry.meaning)
    return found


def _unknown(key: Key, diagnostics: Diagnostics) -> Exception:
    return diagnostics.error(
        "unknown-field", f"`{SECTION}` has no key `{key}`", key.span, help=did_you_mean(key, IO)
    )
