"""What a run's folder says of it beside its generations: the recipe, and what it was computed in."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final

import yaml

from compiler.diagnostics.diagnostic import fail
from runtime.checkpoint.staging import write_whole
from runtime.training.recipe import Recipe, read_recipe

RECIPE: Final = "recipe.yaml"
ENVIRONMENT: Final = "environment.json"
_LOCK: Final = ".lock"  # it stays, empty: who removed it could remove another's


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Work in a run's folder while no other process does. The system lets go of it with the process, however
    that ends. Raises CompileError where another one is at work.
    """
    path = folder / _LOCK
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("ab"))
        except OSError as error:
            raise fail(
                "not-writable", f"cannot write to `{folder}`: {error.strerror or error}", None
            ) from None
        _lock(file, folder)
        yield


def _lock(file: IO[bytes], folder: Path) -> None:
    """Not by flock: processes that read data would hold on to it when this one was killed."""
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            cure = "wait until it has ended, or choose another --out"
            raise fail("conflict", f"another process trains in `{folder}`", None, help=cure) from None
        # The file system knows no locks: nothing can be said about others.


def keep(path: Path, text: str) -> None:
    """Write a file unless it says this already: what stands is never at stake. Raises CompileError."""
    if not path.is_file() or path.read_bytes() != text.encode():
        write_whole(path, text.encode())


def check_folder(folder: Path, recipe: Recipe, resume: bool) -> None:
    """A folder is used for one run of one recipe. Raises CompileError."""
    kept = folder / RECIPE
    if not resume:
        if folder.exists() and (not folder.is_dir() or any(folder.glob("[!.]*"))):
            cure = "pass --resume to go on with it, or another --out"
            raise fail("not-writable", f"`{folder}` exists and is not empty", None, help=cure)
        return
    if not kept.is_file():
        raise fail("not-found", f"there is no run in `{folder}` to resume", None, help="leave out --resume")
    # Read anew, so that a field which came after the run began has its default on both sides.
    before, now = _result(read_recipe(kept)), _result(recipe)
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
