"""The file's keys as the rules name them: wrappers stripped, older spellings replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.ir.parameters import ParamValue
from compiler.weights.expand import Expansion, expand, optional_prefixes
from compiler.weights.library import WeightMap


@dataclass(frozen=True)
class Matched:
    """A map written out for a model and a file. actual: name in the rules -> key in the file."""

    expansion: Expansion
    actual: Mapping[str, str]


def match(
    map: WeightMap, values: Mapping[str, ParamValue], keys: Iterable[str], diagnostics: Diagnostics
) -> Matched:
    """Two keys that become one name are a fault; the first keeps it."""
    stripped = {key: _strip(map, key) for key in keys}
    prefixes = optional_prefixes(map)
    absent = frozenset(p for p in prefixes if not any(name.startswith(p) for name in stripped.values()))
    expansion = expand(map, values, absent if stripped else frozenset())
    actual: dict[str, str] = {}
    for key, name in stripped.items():
        name = expansion.aliases[name][0] if name in expansion.aliases else name
        first = actual.setdefault(name, key)
        if first != key:
            diagnostics.error(
                "rule-collision",
                f"the checkpoint holds `{name}` twice: as `{first}` and as `{key}`",
                map.span,
            )
    for copy, (means, _) in expansion.ties.items():
        if means not in actual and copy in actual:
            actual[means] = actual.pop(copy)
    return Matched(expansion, actual)


def _strip(map: WeightMap, name: str) -> str:
    """The key without wrapper prefixes, in whatever order they stand."""
    changed = True
    while changed:
        changed = False
        for prefix in map.strip:
            if name.startswith(prefix):
                name, changed = name[len(prefix) :], True
    return name
