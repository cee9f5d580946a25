"""Params set from outside: variants, `--set` and Python's `set`, typed and located like the file itself."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from compiler.diagnostics.diagnostic import Diagnostics, fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.passes.paths import set_in_value
from compiler.source.text import SourceFile
from compiler.syntax.model_spec import ModelSpec
from compiler.syntax.yaml import Key, Map, parse_yaml

_PATH = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\Z")


def parse_overrides(values: Mapping[str, Any]) -> Map:
    """Python values (strings that begin with `=` are expressions) as located YAML: path -> value."""
    out = Map()
    for path, value in values.items():
        _check_path(path)
        (document,) = parse_yaml(SourceFile("<set>", f"{path}: {_written(path, value)}\n"))
        out.update(document)
    return out


def _written(path: str, value: Any) -> str:
    """A Python value as YAML."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        raise fail("wrong-type", f"`set` cannot hold {type(value).__name__} for `{path}`", None) from None


def _check_path(path: object) -> None:
    if not isinstance(path, str) or not _PATH.match(path):
        message = f"`{path}` is no path of a param"
        raise fail("usage", message, None, help="write the names of params, joined by dots: `rope.base`")


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """The command line's `--set path=value`, values as YAML."""
    out: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise fail("usage", f"`--set {setting}` is not written `path=value`", None)
        if path in out:
            raise fail("usage", f"`--set {path}` stands twice", None)
        _check_path(path)
        (document,) = parse_yaml(SourceFile("<set>", f"{path}: {_quoted(text)}\n"))
        out[path] = plain(document[next(iter(document))])
    return out


def _quoted(text: str) -> str:
    """Expressions hold characters that YAML would read."""
    return json.dumps(text) if text.startswith("=") else text


def plain(value: Any) -> Any:
    """Located YAML as Python data."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.value


def override_params(spec: ModelSpec, overrides: Map, diagnostics: Diagnostics) -> Map:
    """The params that the paths set: whole ones, or places inside block-valued ones (`rope.base`)."""
    out = Map()
    for path, value in overrides.items():
        name, _, rest = path.partition(".")
        key = Key(name, path.span)
        if not rest:
            out[key] = value
            continue
        current = out.get(key, spec.params.get(key))
        if current is None:
            diagnostics.error(
                "unknown-param", f"spec `{spec.spec.value}` has no param `{name}`", path.span,
                help=did_you_mean(name, spec.params),
            )  # fmt: skip
            continue
        with diagnostics.recover():
            out[key] = set_in_value(current, rest, value, path.span, diagnostics)
    return out
