"""From a source's config.json, or a GGUF file's fields, to the spec it is of, its params and its `io`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler.diagnostics.diagnostic import Abort, Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.source.text import Span
from compiler.syntax.weightmap import Data
from compiler.syntax.yaml import Key, Located, Map, Seq
from compiler.weights.config_source import GENERATION, Fields, choose, read_fields, read_json, reads, whole
from compiler.weights.config_table import ConfigKey, ConfigTable, every_key, plain, same, word
from compiler.weights.library import Library, WeightMap
from compiler.weights.values import evaluate_text


@dataclass(frozen=True)
class Leaf:
    """A value of the source and its place."""

    value: Any
    span: Span


@dataclass(frozen=True)
class Recognised:
    """A checkpoint folder of a known family: its spec, the params its config gives, the map that read it.

    io: how it generates, by the keys of `io`; empty where the map tells nothing of that.
    """

    spec: str
    set: Mapping[str, Any]
    map: WeightMap
    io: Mapping[str, Any]


def recognise(source: Path, library: Library | None = None) -> Recognised:
    """The spec and params of a folder with a config.json, of that file, or of a GGUF file.

    Raises CompileError.
    """
    library = library or Library.standard()
    tree = read_fields(source)
    chosen = choose(_candidates(library, tree), tree, source)
    place = whole(tree, source)
    params = read_config(chosen, tree, place)
    return Recognised(chosen.spec, params, chosen, read_generation(chosen, source, tree, place))


def _candidates(library: Library, tree: Fields) -> list[WeightMap]:
    """The maps with a config section: those that a source of this type may need, all where there are none.

    A map is parsed in some milliseconds and names the type that it reads, so the others are not parsed.
    """
    top = {str(key): plain(value) for key, value in tree.items()}
    word = top.get("model_type")
    near = library.mentioning(word if isinstance(word, str) else "metadata")
    for names in (near, library.names()):
        maps = [m for m in map(library.load, names) if m.config is not None]
        if any(m.config and reads(m.config, top) for m in maps):
            break
    return maps


def read_config(map: WeightMap, tree: Fields, span: Span) -> dict[str, Any]:
    """Our params from a source's config; block-valued ones as nested data. Raises CompileError."""
    assert map.config is not None, f"the map {map.name} has no config section"
    return _read(map, map.config, tree, span)


def read_generation(map: WeightMap, source: Path, config: Fields, span: Span) -> dict[str, Any]:
    """The `io` of a source: from its generation_config.json, or without one from its config.

    Raises CompileError, also for settings that nothing here would follow.
    """
    table = map.generation
    if table is None:
        return {}
    path = (source if source.is_dir() else source.parent) / GENERATION
    if path.is_file() and isinstance(config, Map):
        tree = read_json(path)
        return _read(map, table, tree, tree.span)
    known = table.paths()
    return _read(map, table, Map({k: v for k, v in config.items() if k in known}), span)


def _read(map: WeightMap, table: ConfigTable, tree: Fields, span: Span) -> dict[str, Any]:
    leaves = dict(_flatten(tree, "", table.paths(), span))
    reading = _Reading(map, table, leaves, span)
    reading.move()
    reading.keys(table.keys)
    reading.fixed()
    reading.rest()
    reading.diagnostics.check()
    return reading.params


def _flatten(node: Fields, prefix: str, known: frozenset[str], span: Span) -> Iterator[tuple[str, Leaf]]:
    """Dotted path -> leaf; a mapping is opened only where the table knows something inside it."""
    for key, value in node.items():
        path = prefix + key
        place = key.span if isinstance(key, Key) else span
        if isinstance(value, Map) and any(name.startswith(path + ".") for name in known):
            yield from _flatten(value, path + ".", known, place)
        else:
            yield path, Leaf(plain(value), value.span if isinstance(value, Located | Seq) else place)


@dataclass
class _Reading:
    """One pass over a config; what was used is remembered, so that nothing is ignored in silence."""

    map: WeightMap
    table: ConfigTable
    leaves: dict[str, Leaf]
    span: Span
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    used: set[str] = field(default_factory=set[str])
    diagnostics: Diagnostics = field(default_factory=Diagnostics)

    def move(self) -> None:
        """Bring older spellings to where the keys stand today; two spellings must agree."""
        for old, new in self.table.moved.items():
            leaf = self.leaves.pop(old, None)
            if leaf is None or leaf.value is None:
                continue
            inner = leaf.value if isinstance(leaf.value, dict) else None
            pairs = (
                {f"{new}.{key}": value for key, value in inner.items()}
                if inner is not None
                else {new: leaf.value}
            )
            for path, value in pairs.items():
                present = self.leaves.setdefault(path, Leaf(value, leaf.span))
                if not same(present.value, value):
                    self._error(f"`{old}` gives {word(value)}, `{path}` gives {word(present.value)}", leaf)

    def keys(self, keys: tuple[ConfigKey, ...]) -> None:
        """What is known first: choices and the defaults of absent keys may be expressions in other params."""
        for key in sorted(keys, key=self._turn):
            leaf = self._value(key)
            if leaf is not None:
                self._read(key, leaf)
                continue
            self.used.add(key.path)
            if key.default is None:
                self.diagnostics.error(
                    "config-value",
                    f"the config has no `{key.path}`, which gives `{key.param}`",
                    self.span,
                    notes=(Note("the map reads it here", key.span),),
                )
                continue
            with self.diagnostics.recover():
                self._read(key, Leaf(self._data(key.default), key.span))

    def _turn(self, key: ConfigKey) -> int:
        """What is there, then what silence means anyhow, choices, and what follows from other params."""
        if self._value(key) is not None:
            return 2 if key.cases else 0
        return 3 if key.cases or (isinstance(key.default, Located) and _is_expression(key.default)) else 1

    def fixed(self) -> None:
        for path, data in self.table.fixed.items():
            leaf = self.leaves.get(path)
            self.used.add(path)
            if leaf is not None or path in self.table.write:
                with self.diagnostics.recover():
                    self._hold(path, leaf, data)

    def _hold(self, path: Key, leaf: Leaf | None, data: Data) -> None:
        """The config must say what the spec has built in."""
        wanted = [self._data(item) for item in (data if isinstance(data, Seq) else [data])]
        if leaf is None:
            self.diagnostics.error(
                "config-value",
                f"the config has no `{path}`; the spec {self.map.spec} has {word(wanted[0])} built in",
                self.span,
                notes=(Note("which silence does not mean", path.span),),
            )
        elif not any(same(leaf.value, value) for value in wanted):
            self._error(
                f"`{path}` is {word(leaf.value)}; the spec {self.map.spec} has {word(wanted[0])} built in",
                leaf,
                notes=(Note("as the map says here", path.span),),
            )

    def rest(self) -> None:
        for path, leaf in self.leaves.items():
            known_empty = leaf.value is None and any(
                name.startswith(path + ".") for name in self.table.paths()
            )
            if path in self.used or self.table.ignores(path) or known_empty:
                continue
            near = (
                did_you_mean(path, self.table.paths())
                or f"add it to keys, fixed or ignore of {self.map.name}"
            )
            self.diagnostics.error(
                "config-value",
                f"`{path}` is {word(leaf.value)}: the map {self.map.name} does not know this key",
                leaf.span,
                help=near,
            )

    def _value(self, key: ConfigKey) -> Leaf | None:
        """The leaf of a key; null counts as absent where there is a default, unless it is a value itself."""
        leaf = self.leaves.get(key.path)
        stands_in = key.default is not None and not key.nullable
        return None if leaf is None or (leaf.value is None and stands_in) else leaf

    def _read(self, key: ConfigKey, leaf: Leaf) -> None:
        self.used.add(key.path)
        with self.diagnostics.recover():
            if key.cases:
                self._case(key, leaf)
            elif key.values is not None:
                found = next(
                    (ours for theirs, ours in key.values.items() if theirs == word(leaf.value)), None
                )
                if found is None:
                    raise self._cannot(key, leaf, list(key.values))
                self._give(str(key.param), found.value, leaf)
            elif key.numbered is not None and isinstance(leaf.value, dict):
                self._give(str(key.param), len(leaf.value), leaf)
            elif key.read is not None:
                scope = {**self.params, "it": leaf.value}
                self._give(str(key.param), evaluate_text(key.read, scope, self.diagnostics), leaf)
            else:
                self._give(str(key.param), leaf.value, leaf)

    def _case(self, key: ConfigKey, leaf: Leaf) -> None:
        case = next((case for case in key.cases if case.value == word(leaf.value)), None)
        if case is None:
            self.used.update(other.path for other in every_key([key]))
            raise self._cannot(key, leaf, [case.value for case in key.cases])
        for param, data in case.set.items():
            self._give(param, self._data(data), leaf)
        self.keys(case.keys)

    def _cannot(self, key: ConfigKey, leaf: Leaf, known: list[str]) -> Exception:
        return self._error(
            f"`{key.path}` is {word(leaf.value)}, which the spec {self.map.spec} cannot express",
            leaf,
            notes=(Note("the map knows " + ", ".join(f"`{name}`" for name in known), key.span),),
        )

    def _data(self, data: Data) -> Any:
        """A value of the map. Raises Abort; in silence where a key that gives a param may be at fault."""
        if not (isinstance(data, Located) and _is_expression(data)):
            return plain(data)
        here = Diagnostics()
        try:
            return evaluate_text(data, self.params, here)
        except Abort:
            if not self.diagnostics.items:
                self.diagnostics.items += here.items
            raise

    def _give(self, param: str, value: Any, leaf: Leaf) -> None:
        """Set a param; keys that give the same one must agree."""
        *outer, last = param.split(".")
        place = self.params
        for step in outer:
            place = place.setdefault(step, {})
        if not same(place.setdefault(last, value), value):
            known = f"the spec {self.map.spec} has one `{param}`, which other keys say is {word(place[last])}"
            self._error(f"{word(value)} here, but {known}", leaf)

    def _error(self, message: str, leaf: Leaf, notes: tuple[Note, ...] = ()) -> Exception:
        return self.diagnostics.error("config-value", message, leaf.span, notes=notes)


def _is_expression(data: Located) -> bool:
    return isinstance(data.value, str) and data.value.startswith("=")
