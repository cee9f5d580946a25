"""What a run's folder says of it beside its generations: the recipe, and what it was computed in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from compiler.diagnostics.diagnostic import fail
from runtime.checkpoint.staging import write_whole
from runtime.training.recipe import Recipe, read_recipe

RECIPE: Final = "recipe.yaml"
ENVIRONMENT: Final = "environment.json"


def keep(path: Path, text: str) -> None:
    """Write a file unless it says this already: what stands is never at stake. Raises CompileError."""
    if not path.is_file() or path.read_bytes() != text.encode():
        write_whole(path, text.encode())


def check_folder(folder: Path, recipe: Recipe, resume: bool) -> None:
    """A folder is used for one run of one recipe. Raises CompileError."""
    kept = folder / RECIPE
    if not resume:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            cure = "pass --resume to go on with it, or another --out"
            raise fail("not-writable", f"`{folder}` exists and is not empty", None, help=cure)
        return
    if not kept.is_file():
        raise fail("not-found", f"there is no run in `{folder}` to resume", None, help="leave out --resume")
    # Read anew, so that a field which came after the run began has its default on both sides.
    before, now = (_result(read_recipe(kept)), _result(recipe))
    if before != now:
        changed = ", ".join(f"`{path}`" for path in _differing(before, now, ""))
        message = f"the run in `{folder}` was made by another recipe: {changed} differs"
        raise fail(
            "conflict",
            message,
            None,
            help="resume with the same recipe and settings, or choose another --out",
        )


def _result(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe the result depends on: not where it is computed, who reads the data, what is kept."""
    tree: dict[str, Any] = yaml.safe_load(recipe.resolved())
    tree.pop("parallel", None)
    del tree["checkpoint"], tree["train"]["workers"]
    return tree


def _differing(old: Any, new: Any, path: str) -> list[str]:
    """The paths at which two trees differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [p for k in keys for p in _differing(old.get(k), new.get(k), f"{path}.{k}" if path else k)]
    return [path] if old != new else []


def changes(folder: Path, now: Mapping[str, object]) -> Iterator[str]:
    """What is unlike the environment that the run was computed in so far, in words."""
    try:
        before: dict[str, object] = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        yield f"{folder / ENVIRONMENT} cannot be read: on what the run was begun is not known"
        return
    for name, value in now.items():
        if before.get(name, value) != value:
            differs = "results may differ in rounding"
            differs += ", and dropout draws other numbers" if name == "processes" else ""
            yield f"{name} was {before[name]} and is {value}: {differs}"
