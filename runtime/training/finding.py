"""Which file a recipe's name or path means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from compiler.diagnostics.diagnostic import fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.passes.library import read_source
from compiler.source.paths import search_folders
from compiler.syntax.yaml import parse_yaml


def find_recipe(source: str | Path) -> Path:
    """The file that a recipe's name or path means. Raises CompileError."""
    text = str(source)
    if _is_path(source):
        if not os.path.isfile(text):
            raise fail("not-found", f"there is no file `{text}`", None)
        return Path(text)
    found = next(_named(text), None)
    if found is not None:
        return found
    known = {path.stem for folder in search_folders("recipes") for path in folder.glob("*.yaml")}
    raise fail("not-found", f"there is no recipe `{text}`", None, help=did_you_mean(text, known))


def is_recipe(source: str | Path) -> bool:
    """Whether a name or path is a recipe's; a spec's, otherwise. Raises CompileError for what is no YAML."""
    if not _is_path(source):
        return next(_named(str(source)), None) is not None
    path = Path(source)
    return (
        path.suffix in (".yaml", ".yml") and path.is_file() and "recipe" in parse_yaml(read_source(path))[0]
    )


def _is_path(source: str | Path) -> bool:
    text = str(source)
    return isinstance(source, Path) or text.endswith((".yaml", ".yml")) or "/" in text


def _named(name: str) -> Iterator[Path]:
    paths = (folder / f"{name}.yaml" for folder in search_folders("recipes"))
    return (path for path in paths if path.is_file())
