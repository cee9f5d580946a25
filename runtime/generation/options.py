"""What a caller asks of `generate`, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.ir.values import Value
from runtime.generation.interface import Interface

#: What `eos` and `pad` say where the model's own tokens are meant.
MODEL = "model"
Ids = int | Sequence[int] | str | None
#: Scores divided by less leave the range of single precision.
_COLDEST = 1e-5


@dataclass(frozen=True)
class Filters:
    """How a distribution is narrowed before a token is drawn from it; temperature 0 takes the likeliest."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None


@dataclass(frozen=True)
class Options:
    """Everything that decides which tokens are chosen."""

    max_new_tokens: int
    filters: Filters = Filters()
    repetition_penalty: float = 1.0
    num_beams: int = 1
    length_penalty: float = 1.0
    eos: Ids = MODEL
    pad: int | str | None = MODEL
    seed: int | None = None


@dataclass(frozen=True)
class Endings:
    """The tokens that end a row, and the one that fills it from there on."""

    eos: tuple[int, ...]
    pad: int


def check(options: Options) -> None:
    """Raises CompileError with every argument that cannot be."""
    found = Diagnostics()
    filters = options.filters
    _whole(found, "max_new_tokens", options.max_new_tokens)
    _whole(found, "num_beams", options.num_beams)
    heat = _real(filters.temperature)
    _number(
        found, "temperature", filters.temperature, heat == 0 or heat >= _COLDEST, f"from {_COLDEST} on, or 0"
    )
    _number(found, "length_penalty", options.length_penalty, True, "that is finite")
    penalty = options.repetition_penalty
    _number(found, "repetition_penalty", penalty, _real(penalty) > 0, "above 0")
    if filters.top_k is not None:
        _whole(found, "top_k", filters.top_k)
    for name, share in (("top_p", filters.top_p), ("min_p", filters.min_p)):
        if share is not None:
            _number(found, name, share, 0 <= _real(share) <= 1, "between 0 and 1")
    if options.seed is not None and (not _is_whole(options.seed) or not 0 <= options.seed < 2**64):
        _refuse(found, "seed", options.seed, "a whole number of at most 64 bits, or None")
    _together(found, options)
    found.check()


def _together(found: Diagnostics, options: Options) -> None:
    """Arguments that would be without effect beside others."""
    filters = options.filters
    if _real(filters.temperature) == 0:
        for name, value in (("top_k", filters.top_k), ("top_p", filters.top_p), ("min_p", filters.min_p)):
            if value is not None:
                found.error(
                    "usage",
                    f"`{name}` narrows what is drawn, but at temperature 0 the likeliest token is taken",
                    None,
                    help="give a temperature above 0, such as 1.0",
                )
    elif _real(filters.temperature) > 0 and options.num_beams != 1:
        found.error(
            "usage",
            "beam search draws nothing: `num_beams` above 1 goes with temperature 0",
            None,
            help="leave out `temperature` or `num_beams`",
        )


def endings(options: Options, interface: Interface) -> Endings:
    """The model's own tokens where the caller names none. Raises CompileError."""
    found = Diagnostics()
    pad: Value
    eos = _ids(found, "eos", interface.io.get("eos") if options.eos == MODEL else options.eos)
    if options.pad == MODEL:
        own = interface.io.get("pad")
        pad = own if own is not None else (eos[0] if eos else 0)
    else:
        pad = options.pad if options.pad is not None else (eos[0] if eos else 0)
        if not _is_whole(pad) or pad < 0:
            _refuse(found, "pad", pad, 'a token\'s id, None or "model"')
    found.check()
    return Endings(eos, int(pad))


def _ids(found: Diagnostics, name: str, value: Value) -> tuple[int, ...]:
    values = () if value is None else (value,) if not isinstance(value, list | tuple) else tuple(value)
    if not all(_is_whole(v) and v >= 0 for v in values):
        _refuse(found, name, value, 'a token\'s id, a list of ids, None or "model"')
    return values


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: Any) -> float:
    """A number to compare with; what is none fits nowhere."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _whole(found: Diagnostics, name: str, value: Any) -> None:
    if not _is_whole(value) or value < 1:
        _refuse(found, name, value, "a whole number, at least 1")


def _number(found: Diagnostics, name: str, value: Any, fits: bool, range: str) -> None:
    if not fits or abs(_real(value)) == float("inf") or _real(value) != _real(value):
        _refuse(found, name, value, f"a number {range}")


def _refuse(found: Diagnostics, name: str, value: Any, allowed: str) -> None:
    found.error("usage", f"`{name}` is {allowed}, not {value!r}", None)
