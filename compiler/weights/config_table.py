"""The sections `config` and `generation` of a map as data: which key of the source gives which value of ours.

keys:    their key -> our param, by name, through a table of values or an expression, or by cases
fixed:   values that our spec has built in; another value is an error, and so is silence about a key that
         `write` sets, for the source's reader would then take another
ignore:  keys that say nothing about the network, each with its reason; `name.` and `name:` cover a namespace
moved:   older spellings -> where the key stands today
shared:  keys of `generation` that an export writes into the config, too
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compiler.diagnostics.diagnostic import Diagnostics, fail
from compiler.source.text import Span
from compiler.syntax.weightmap import (
    ConfigEntry,
    Data,
    GenerationEntry,
    KeyEntry,
    KeyForm,
    MatchEntry,
    TableEntry,
)
from compiler.syntax.yaml import Key, Located, Map, Seq


@dataclass(frozen=True)
class Case:
    """What one value of a choosing key means: params to set or that are so, and further keys to read."""

    value: str
    set: Mapping[str, Data]
    equals: Mapping[str, Data]
    keys: tuple[ConfigKey, ...]


@dataclass(frozen=True)
class ConfigKey:
    """One key, by its dotted path. `default`: what the source's reader assumes; `nullable`: not for null."""

    path: str
    span: Span
    param: str | None = None
    values: Mapping[Key, Located] | None = None
    read: Located | None = None
    write: Located | None = None
    numbered: Located | None = None
    default: Data | None = None
    nullable: bool = False
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True)
class ConfigTable:
    """A map's table, with what it includes and extends written out."""

    match: MatchEntry
    write: Mapping[str, Data]
    moved: Mapping[str, str]
    keys: tuple[ConfigKey, ...]
    fixed: Mapping[Key, Data]
    ignore: Mapping[Key, str]
    shared: tuple[str, ...] = ()

    def paths(self) -> frozenset[str]:
        """Every path that the table mentions."""
        keys = {key.path for key in every_key(self.keys)}
        return frozenset({*keys, *self.fixed, *self.ignore, *self.moved, *self.moved.values()})

    def ignores(self, path: str) -> bool:
        """Whether a key says nothing about the network."""
        return path in self.ignore or any(
            name.endswith((".", ":")) and path.startswith(name) for name in self.ignore
        )


#: Finds the sections that a fragment's name stands for.
Fragments = Callable[[str, Span], Sequence[TableEntry]]


def every_key(keys: Iterable[ConfigKey]) -> Iterable[ConfigKey]:
    """The keys and those that their cases bring."""
    for key in keys:
        yield key
        for case in key.cases:
            yield from every_key(case.keys)


def read_table(
    sections: Sequence[TableEntry], fragments: Fragments, diagnostics: Diagnostics
) -> ConfigTable | None:
    """The table that sections make together, the later ones overriding the earlier key by key."""
    if not sections:
        return None
    keys: dict[str, ConfigKey] = {}
    fixed: dict[Key, Data] = {}
    ignore: dict[Key, str] = {}
    write: dict[str, Data] = {}
    moved: dict[str, str] = {}
    shared: list[str] = []
    for prefix, part in [pair for section in sections for pair in _with_fragments(section, fragments)]:
        for name in (
            *part.keys,
            *part.fixed,
            *part.ignore,
        ):  # what a later section says of a key stands alone
            for table in (keys, fixed, ignore):
                table.pop(Key(prefix + name, name.span), None)
        keys |= {prefix + name: _key(name, form, prefix, diagnostics) for name, form in part.keys.items()}
        fixed |= {Key(prefix + name, name.span): value for name, value in part.fixed.items()}
        ignore |= {Key(prefix + name, name.span): str(why.value) for name, why in part.ignore.items()}
        write |= {prefix + name: value for name, value in part.write.items()}
        moved |= {prefix + name: prefix + str(to.value) for name, to in part.moved.items()}
        shared += [str(name.value) for name in part.shared] if isinstance(part, GenerationEntry) else []
    configs = [section for section in sections if isinstance(section, ConfigEntry)]
    matches = [section.match for section in configs if section.match.model_fields_set]
    return ConfigTable(
        match=matches[-1] if matches else MatchEntry(),
        write=write,
        moved=moved,
        keys=tuple(keys.values()),
        fixed={name: value for name, value in fixed.items() if name not in keys},
        ignore={name: why for name, why in ignore.items() if name not in keys and name not in fixed},
        shared=tuple(shared),
    )


def _with_fragments(
    section: TableEntry, fragments: Fragments, prefix: str = "", seen: tuple[str, ...] = ()
) -> Iterator[tuple[str, TableEntry]]:
    """A section after those it includes, each with the prefix under which its keys stand."""
    for name, prefixes in section.include.items():
        if name in seen:
            raise fail("cycle", f"`{name}` includes itself", name.span)
        for part in fragments(name, name.span):
            for inner in prefixes:
                yield from _with_fragments(part, fragments, prefix + str(inner.value), (*seen, name))
    yield prefix, section


def _key(name: Key, form: KeyForm, prefix: str, diagnostics: Diagnostics) -> ConfigKey:
    if not isinstance(form, KeyEntry):
        return ConfigKey(prefix + name, name.span, param=str(form.value))
    if (form.param is None) == (form.cases is None):
        diagnostics.error("missing-field", f"`{name}` gives a `param` or chooses between `cases`", name.span)
    if form.values is not None and (form.read is not None or form.write is not None):
        diagnostics.error("conflict", f"`{name}` has both `values` and expressions", name.span)
    if form.numbered is not None and (form.values is not None or form.read is not None):
        diagnostics.error(
            "conflict", f"`{name}` is `numbered`, and takes no `values` and no expressions", name.span
        )
    if form.write is not None and form.read is None:
        diagnostics.error("missing-field", f"`{name}` needs `read`, the inverse of `write`", name.span)
    cases = [
        Case(
            str(value),
            {str(param): data for param, data in case.set.items()},
            {str(param): data for param, data in case.equals.items()},
            tuple(_key(key, inner, prefix, diagnostics) for key, inner in case.keys.items()),
        )
        for value, case in (form.cases or {}).items()
    ]
    return ConfigKey(
        prefix + name,
        name.span,
        str(form.param.value) if form.param else None,
        form.values,
        form.read,
        form.write,
        form.numbered,
        form.default,
        form.nullable is not None and bool(form.nullable.value),
        tuple(cases),
    )


def plain(data: Any) -> Any:
    """Data without places."""
    if isinstance(data, Map):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, Seq):
        return [plain(value) for value in data]
    return data.value if isinstance(data, Located) else data


def same(a: Any, b: Any) -> bool:
    """Equal as data: 1 and 1.0 are one number, true and 1 are not."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a == b) is bool and a == b


def unword(text: str) -> Any:
    """The value that `word` wrote, where it was true, false, null or a number."""
    import json

    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, str | list | dict) else value


def word(value: Any) -> str:
    """A value as it is written in JSON, a string without its quotes."""
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value)
