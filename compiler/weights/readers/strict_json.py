"""JSON without the liberties: no duplicate keys, no NaN, no lone surrogates, bounded depth."""

from __future__ import annotations

import json
import math
from typing import Any, Final

MAX_DEPTH: Final = 8


class JsonFault(ValueError):
    """The text is not JSON as RFC 8259 has it, or repeats a key, or is nested too deeply."""


def loads(data: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """The value of a UTF-8 JSON text. Raises JsonFault, and nothing else, on any other input."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
    except JsonFault:
        raise
    except RecursionError:
        raise JsonFault(f"nested more than {max_depth} deep") from None
    except UnicodeDecodeError as error:
        raise JsonFault(f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise JsonFault(str(error)[:200]) from None
    _check_depth(value, max_depth)
    if "\\u" in text:
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise JsonFault(f"the key `{key[:80]}` stands twice")
        seen.add(key)
    raise AssertionError("a dict is shorter than its pairs only when a key repeats")


def _constant(name: str) -> Any:
    raise JsonFault(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonFault(f"the number {text[:40]} is out of range")
    return value


def _check_depth(value: Any, max_depth: int) -> None:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(max_depth):
        children = (child for node in level for child in (node.values() if isinstance(node, dict) else node))
        level = [child for child in children if isinstance(child, (dict, list))]
    if level:
        raise JsonFault(f"nested more than {max_depth} deep")


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise JsonFault("a string holds half of a surrogate pair") from None
