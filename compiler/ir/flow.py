"""Values of the compiler as YAML flow text: one spelling per value, so that equal levels print equally."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

from compiler.ir.dims import Dim
from compiler.ir.values import Record, Residual, Value, spell

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./]*\Z")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off"}  # the last four: for readers of YAML 1.1


def flow(value: Value) -> str:
    """A value as it stands in a flow mapping."""
    match value:
        case None | bool():
            return spell(value)
        case int():
            return str(value)
        case float():
            return _float(value)
        case str():
            return text(value)
        case Record(items=items):
            return mapping((k, flow(v)) for k, v in items)
        case tuple():
            return sequence(map(flow, value))
        case Fraction() | Residual():
            return json.dumps("=" + spell(value))
        case Dim():
            return str(value) if value.constant is not None else text(str(value))
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical text")


def is_data(value: Value) -> bool:
    """Whether a value has a text of its own; a block value shows in the nodes that it became."""
    if isinstance(value, tuple):
        return all(is_data(v) for v in value)
    return value is None or isinstance(value, bool | int | float | str | Fraction | Residual | Dim | Record)


def text(value: str) -> str:
    """A string, quoted unless it is a plain word in every reader of YAML."""
    plain = _PLAIN.match(value) and value.lower() not in _WORDS
    if plain:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def mapping(items: Iterable[tuple[str, str]]) -> str:
    """Keys with values that are already text."""
    return "{" + ", ".join(f"{text(k)}: {v}" for k, v in items) + "}"


def sequence(items: Iterable[str]) -> str:
    """Values that are already text."""
    return "[" + ", ".join(items) + "]"


def data(values: Mapping[str, Value]) -> str:
    """Named values, without those that have no text."""
    return mapping((k, flow(v)) for k, v in values.items() if is_data(v))


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    whole, exponent, power = repr(value).partition("e")
    return (
        whole + (".0" if exponent and "." not in whole else "") + exponent + power
    )  # a float for YAML 1.1, too
