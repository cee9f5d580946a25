"""The config table backwards: a config.json that the source's own tools accept."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.ir.parameters import ParameterTable
from compiler.syntax.weightmap import Data
from compiler.syntax.yaml import Located
from compiler.weights.config_table import Case, ConfigKey, every_key, plain, same, unword, word
from compiler.weights.library import WeightMap
from compiler.weights.values import evaluate_text

_ABSENT = object()


def write_config(
    map: WeightMap, table: ParameterTable, set: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The source's config for a model with these params.

    Raises CompileError where it has no words for them.
    """
    diagnostics = Diagnostics()
    if map.config is None:
        diagnostics.error("cannot-export", f"the map {map.name} has no config section", map.span)
        diagnostics.check()
        return {}
    written: dict[str, Any] = {}
    for path, data in map.config.write.items():
        _put(written, path, plain(data), diagnostics, map)
    _keys(map.config.keys, {**table.values, **set}, written, diagnostics, map)
    diagnostics.check()
    return written


def write_generation(map: WeightMap, io: Mapping[str, Any]) -> dict[str, Any]:
    """The source's settings of text generation, null where the model has nothing of the kind.

    io: every key of the spec's `io`. Raises CompileError where the source has no words for them.
    """
    assert map.generation is not None, f"the map {map.name} has no generation section"
    diagnostics = Diagnostics()
    written: dict[str, Any] = {}
    _keys(map.generation.keys, io, written, diagnostics, map)
    diagnostics.check()
    return written


def _keys(
    keys: tuple[ConfigKey, ...],
    values: Mapping[str, Any],
    written: dict[str, Any],
    diagnostics: Diagnostics,
    map: WeightMap,
) -> None:
    for key in keys:
        with diagnostics.recover():
            if key.cases:
                case = _case(key, values, diagnostics, map)
                _put(written, key.path, unword(case.value), diagnostics, map)
                _keys(case.keys, values, written, diagnostics, map)
            else:
                _put(written, key.path, _theirs(key, values, diagnostics, map), diagnostics, map)


def _theirs(key: ConfigKey, values: Mapping[str, Any], diagnostics: Diagnostics, map: WeightMap) -> Any:
    """Their word for our value."""
    value = _look(values, str(key.param))
    if value is _ABSENT:
        raise diagnostics.error("cannot-export", f"`{key.path}` needs the param `{key.param}`", key.span)
    if key.values is not None:
        found = [theirs for theirs, ours in key.values.items() if same(ours.value, value)]
        if not found:
            raise diagnostics.error(
                "cannot-export",
                f"`{key.param}` is {word(value)}, for which {map.dialect} has no `{key.path}`",
                key.span,
            )
        return unword(str(found[0]))
    if key.numbered is not None and isinstance(value, int):
        return {str(number): f"{key.numbered.value}{number}" for number in range(value)}
    if key.read is not None and key.write is None:
        raise diagnostics.error("cannot-export", f"`{key.path}` is read, never written", key.span)
    if key.write is not None:
        return evaluate_text(key.write, {**values, "it": value}, diagnostics)
    return value


def _case(key: ConfigKey, values: Mapping[str, Any], diagnostics: Diagnostics, map: WeightMap) -> Case:
    """The case that the params are; those that only other cases set must be absent."""
    owned = {param.split(".")[0] for case in key.cases for param in _params(case)}
    for case in key.cases:
        if _is(case, owned, values, diagnostics):
            return case
    held = ", ".join(f"{param}: {word(values.get(param))}" for param in sorted(owned))
    raise diagnostics.error("cannot-export", f"no `{key.path}` of {map.dialect} stands for {held}", key.span)


def _is(case: Case, owned: set[str], values: Mapping[str, Any], diagnostics: Diagnostics) -> bool:
    mine = {param.split(".")[0] for param in (*case.set, *case.equals)}
    if any(isinstance(values.get(param), Mapping) for param in owned - mine):
        return False
    wanted = [(param, data, False) for param, data in case.set.items()]
    wanted += [(param, data, param.split(".")[0] not in values) for param, data in case.equals.items()]
    return all(
        optional or same(_look(values, param), _data(data, values, diagnostics))
        for param, data, optional in wanted
    )


def _params(case: Case) -> list[str]:
    return [*case.set, *case.equals, *(key.param for key in every_key(case.keys) if key.param)]


def _data(data: Data, values: Mapping[str, Any], diagnostics: Diagnostics) -> Any:
    if isinstance(data, Located) and isinstance(data.value, str) and data.value.startswith("="):
        return evaluate_text(data, values, diagnostics)
    return plain(data)


def _look(values: Mapping[str, Any], param: str) -> Any:
    node: Any = values
    for step in param.split("."):
        if not isinstance(node, Mapping) or step not in node:
            return _ABSENT
        node = node[step]
    return node


def _put(written: dict[str, Any], path: str, value: Any, diagnostics: Diagnostics, map: WeightMap) -> None:
    *outer, last = path.split(".")
    place = written
    for step in outer:
        place = place.setdefault(step, {})
    if last in place and not same(place[last], value):
        diagnostics.error(
            "cannot-export",
            f"`{path}` would be both {word(place[last])} and {word(value)} in {map.dialect}",
            map.span,
        )
    place[last] = value
