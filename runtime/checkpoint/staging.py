"""Writing files into a folder so that a failure leaves what was there.

Everything is written and flushed in a temporary folder on the same disk, then renamed into place. A folder
that did not exist appears whole or not at all. In an existing one each file is replaced in one step; several
weight files are not, so the index is removed first and put back last: in between no reader finds weights.

SHA256SUMS (`sha256sum -c` reads it) lists what was written: how a later call knows its own files.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from compiler.diagnostics.diagnostic import CompileError, fail
from compiler.weights.readers.files import place
from runtime.checkpoint.layout import INDEX, SINGLE

SUMS: Final = "SHA256SUMS"
_MARK: Final = "# Written with the weights: a later export replaces these files if they are unchanged.\n"
_KEPT: Final = "what was there is unchanged"
_LARGE: Final = 1 << 20  # what is worth a flush before the last one
_SHARD: Final = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


class Staging:
    """Files on their way into `folder`."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary
        self.sums: dict[str, str] = {}
        self.committing = False

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> None:
        """Write one file, flushed to the disk.

        It is hashed and flushed while it is written: the disk works all the time, little is left to wait for.
        """
        digest = hashlib.sha256()
        path = self.temporary / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file, ThreadPoolExecutor(2) as beside:
            flushes: list[Future[None]] = []
            for chunk in chunks:
                hashed = beside.submit(digest.update, chunk)  # none of the three holds the interpreter
                file.write(chunk)
                if len(chunk) >= _LARGE and all(flush.done() for flush in flushes):
                    _finish(flushes)
                    flushes = [beside.submit(os.fsync, file.fileno())]
                hashed.result()
                del chunk, hashed  # or it would stay in memory while the next one is made
            file.flush()
            _finish(flushes)
            os.fsync(file.fileno())
        self.sums[name] = digest.hexdigest()
        if path.parent != self.temporary:
            flush_folder(path.parent)

    def adopt(self, name: str) -> None:
        """Flush a file that somebody else wrote below `temporary`, so that it belongs to the rest.

        What an export has hashed there is not hashed again.
        """
        path = self.temporary / name
        known = recorded(self.temporary).get(name)
        with path.open("rb+") as file:
            self.sums[name] = known or hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        if path.parent != self.temporary:
            flush_folder(path.parent)

    def commit(self) -> None:
        """Move what was written into place, and remove the weight files that it supersedes."""
        names = list(self.sums)
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(self.sums.items()))
        self.write(SUMS, [(_MARK + lines).encode()])
        flush_folder(self.temporary)
        if not self.folder.exists():
            os.rename(self.temporary, self.folder)
            flush_folder(self.folder.parent)
            return
        self.committing = True
        superseded = [name for name in _weight_files(self.folder) if name not in names]
        (self.folder / INDEX).unlink(missing_ok=True)
        for name in sorted(names, key=lambda name: name == INDEX):
            if name == INDEX:
                self._remove(superseded)
            (self.folder / name).parent.mkdir(exist_ok=True)
            os.replace(self.temporary / name, self.folder / name)
        self._remove(superseded)
        os.replace(self.temporary / SUMS, self.folder / SUMS)
        flush_folder(self.folder)

    def _remove(self, names: list[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


@contextmanager
def staged(folder: Path, names: Iterable[str], size: int, *, force: bool) -> Iterator[Staging]:
    """A Staging for files of these names and about `size` bytes together.

    Raises CompileError before anything is written if the disk is too small or, without `force`, if a file in
    the way was not written here or has changed since; and after removing what it wrote if writing fails.
    """
    folder = folder.resolve()
    base = folder if folder.exists() else folder.parent
    staging = Staging(folder, base / f".{folder.name}.{secrets.token_hex(8)}.tmp")
    try:
        _refuse_foreign(folder, names, force)
        staging.temporary.mkdir(parents=True)
        free = shutil.disk_usage(staging.temporary).free
        if free < size:
            raise _failed(folder, f"{size} bytes are needed, {free} are free; {_KEPT}")
        yield staging
    except OSError as error:
        raise unwritten(staging, error) from None
    finally:
        shutil.rmtree(staging.temporary, ignore_errors=True)


def unwritten(staging: Staging, error: OSError) -> CompileError:
    """The fault of a disk, and what it left."""
    state = "some files are replaced, run it again" if staging.committing else _KEPT
    return _failed(staging.folder, f"{error.strerror or error}; {state}")


def write_whole(path: Path, data: bytes) -> None:
    """Put a file into place in one step, flushed. Raises CompileError, with what was there as it was."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        flush_folder(path.parent)
    except OSError as error:
        raise _failed(path, f"{error.strerror or error}; {_KEPT}") from None


def _refuse_foreign(folder: Path, names: Iterable[str], force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise _failed(folder, f"it is a file, not a folder; {_KEPT}")
    if force or not folder.exists():
        return
    sums = recorded(folder)
    in_the_way = sorted(name for name in {*names, *_weight_files(folder)} if os.path.lexists(folder / name))
    foreign = [name for name in in_the_way if name not in sums or _digest(folder / name) != sums[name]]
    if os.path.lexists(folder / SUMS) and not sums:
        foreign.append(SUMS)
    if foreign:
        message = f"would overwrite {', '.join(foreign[:10])}, which this did not write or has changed since"
        raise fail("not-writable", message, place(folder), help="choose another folder, or pass force=True")


def recorded(folder: Path) -> Mapping[str, str]:
    """name -> digest of what an earlier call wrote; empty when the list is missing or not ours."""
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    if not text.startswith(_MARK):
        return {}
    pairs = (line.partition("  ") for line in text.splitlines()[1:])
    return {name: digest for digest, _, name in pairs}


def _weight_files(folder: Path) -> list[str]:
    names = (entry.name for entry in folder.iterdir())
    return sorted(name for name in names if name in (SINGLE, INDEX) or _SHARD.fullmatch(name))


def _digest(path: Path) -> str | None:
    """The SHA-256 of a regular file; a link is never one of ours."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Make renames in a folder durable, where folders can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finish(flushes: Iterable[Future[None]]) -> None:
    """Wait. Raises OSError: of a write that failed the system tells once, whoever asks first."""
    for flush in flushes:
        flush.result()


def _failed(folder: Path, reason: str) -> CompileError:
    return fail("not-writable", f"cannot write to {folder.name}: {reason}", place(folder))
