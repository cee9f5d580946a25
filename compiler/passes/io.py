"""`io:` - what the runtime feeds a model and reads from it. None of it enters the graph.

Settings come from the spec, from a variant and from outside (`io.eos`), in that order. A key is null where
the model has nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.values import Record, Value, spell
from compiler.passes.io_keys import IO, IoKey
from compiler.passes.scope import Scope
from compiler.syntax.model_spec import ModelSpec
from compiler.syntax.schema import Value as Written
from compiler.syntax.yaml import Key, Map

SECTION: Final = "io"


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
    return _checked(SECTION, written, IO, scope)


def every_setting(io: Mapping[str, Value]) -> dict[str, Value]:
    """A model's `io` with null for what it does not say."""
    return {**dict.fromkeys(IO), **io}


def _checked(
    section: str, written: Mapping[Key, Written], known: Mapping[str, IoKey], scope: Scope
) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, value in written.items():
        with scope.diagnostics.recover():
            if key not in known:
                cure = did_you_mean(key, known)
                raise scope.diagnostics.error(
                    "unknown-field", f"`{section}` has no key `{key}`", key.span, help=cure
                )
            entry = known[key]
            if entry.fields and isinstance(value, Map):
                found[str(key)] = Record(
                    tuple(_checked(f"{section}.{key}", value, entry.fields, scope).items())
                )
                continue
            found[str(key)] = scope.value(value)
            if found[str(key)] is not None and not entry.fits(found[str(key)]):
                message = f"`{section}.{key}` is {entry.kind}, not `{spell(found[str(key)])}`"
                scope.diagnostics.error("wrong-type", message, value.span, help=entry.meaning)
    return found
