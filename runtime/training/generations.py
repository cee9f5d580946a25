"""Checkpoints as generations: each a folder that appears whole or not at all, and says what is in it.

    DIR/checkpoints/00000120/     one generation: its files and SHA256SUMS
    DIR/last -> checkpoints/...   the newest; DIR/best the same for the best

A generation is written under another name, every file flushed and hashed, then renamed. So a process that is
killed, or a full disk, leaves the generations that were there. A link is replaced in one step. Readers take
the newest generation whose hashes hold.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compiler.diagnostics.diagnostic import fail
from runtime.checkpoint.staging import Staging, flush_folder, recorded, staged, unwritten
from runtime.parallel.world import ALONE, World

FOLDER: Final = "checkpoints"
_NAME: Final = re.compile(r"(?P<kind>last|best)-(?P<step>\d{8})(\.(?P<again>\d+))?\Z")


@dataclass(frozen=True)
class Generation:
    """A committed folder. again: counts those of one step, when a run was repeated from an earlier one."""

    kind: str
    step: int
    again: int
    path: Path

    def intact(self) -> bool:
        """Whether every file is what was written."""
        sums = recorded(self.path)
        return bool(sums) and all(_digest(self.path / name) == digest for name, digest in sums.items())


def commit(
    run: Path, kind: str, step: int, size: int, write: Callable[[Staging], None], world: World = ALONE
) -> Path:
    """Write a generation of about `size` bytes, let `DIR/kind` point to it, and return its folder.

    Every process of the world calls `write`, with the same folder to write into; the first one renames it.
    Raises CompileError, on all and with everything as it was, when the disk is full or cannot be written.
    """
    with ExitStack() as stack:
        staging = world.once(
            lambda: stack.enter_context(staged(_free(run, kind, step), [], size, force=False))
        )
        try:
            write(staging)
            for sums in world.each(staging.sums):
                staging.sums |= sums
            world.once(staging.commit)
        except OSError as error:
            raise unwritten(staging, error) from None
    path = run / FOLDER / staging.folder.name
    world.once(lambda: _turn(run / kind, path))
    return path


def _free(run: Path, kind: str, step: int) -> Path:
    """Where the generation of a step goes that may have been saved before."""
    again = 0
    while os.path.lexists(path := run / FOLDER / _name(kind, step, again)):
        again += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _turn(link: Path, path: Path) -> None:
    """Let a link point to a generation. Raises CompileError."""
    try:
        _point(link, path)
    except OSError as error:
        message = f"`{link}` cannot be turned to {path.name}, which is saved: {error.strerror or error}"
        raise fail("not-writable", message, None) from None


def generations(run: Path, kind: str) -> list[Generation]:
    """Those of a kind, the newest first, whether intact or not."""
    folder = run / FOLDER
    found = [_read(path) for path in folder.iterdir()] if folder.is_dir() else []
    own = [g for g in found if g is not None and g.kind == kind]
    return sorted(own, key=lambda g: (g.step, g.again), reverse=True)


def newest(run: Path, kind: str) -> tuple[Generation | None, list[Generation]]:
    """The newest intact generation, and the damaged ones that are newer."""
    damaged: list[Generation] = []
    for generation in generations(run, kind):
        if generation.intact():
            return generation, damaged
        damaged.append(generation)
    return None, damaged


def prune(run: Path, kind: str, keep: int) -> None:
    """Keep the generation that `DIR/kind` points to and the `keep` - 1 before it.

    Later ones go first: they are damaged, or the run was resumed from before them and has left their course.
    So does what an interrupted process left half written.
    """
    folder = run / FOLDER
    found = generations(run, kind)
    target = [g.path.name for g in found].index((run / kind).readlink().name)
    for old in found[:target] + found[target + keep :]:
        aside = folder / f".{old.path.name}.{secrets.token_hex(8)}.tmp"
        os.replace(old.path, aside)
    for left in folder.glob(".*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


def _name(kind: str, step: int, again: int) -> str:
    return f"{kind}-{step:08d}" + (f".{again}" if again else "")


def _read(path: Path) -> Generation | None:
    match = _NAME.match(path.name)
    if match is None:
        return None
    return Generation(match["kind"], int(match["step"]), int(match["again"] or 0), path)


def _point(link: Path, target: Path) -> None:
    """Let a link point to a folder below its own, in one step."""
    part = link.with_name(f".{link.name}.{secrets.token_hex(8)}.tmp")
    try:
        part.symlink_to(target.relative_to(link.parent), target_is_directory=True)
        os.replace(part, link)
    finally:
        part.unlink(missing_ok=True)
    flush_folder(link.parent)


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
