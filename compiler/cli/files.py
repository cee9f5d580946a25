"""Writing files: all or none, and never over what is not known to be ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from compiler.diagnostics.diagnostic import Diagnostics, fail


@dataclass(frozen=True)
class Output:
    """A file to be written. `is_ours`: whether a text that is there already was written by this compiler."""

    path: Path
    text: str
    is_ours: Callable[[str], bool] = lambda text: False


def write_all(outputs: Sequence[Output], force: bool) -> None:
    """Write every file, or none. Raises CompileError naming each that would be lost."""
    if not force:
        diagnostics = Diagnostics()
        for output in outputs:
            if not _may_replace(output):
                diagnostics.error(
                    "not-writable",
                    f"`{output.path}` exists and is not what this compiler wrote",
                    None,
                    help="choose another place, or pass --force to overwrite it",
                )
        diagnostics.check()
    staged = [
        (output, output.path.with_name(f".{output.path.name}.{os.getpid()}.part")) for output in outputs
    ]
    try:
        for output, part in staged:
            output.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(output.text, encoding="utf-8", newline="\n")
        for output, part in staged:
            os.replace(part, output.path)
    except OSError as error:
        raise fail("not-writable", f"`{error.filename}` cannot be written: {error.strerror}", None) from None
    finally:
        for _, part in staged:
            with suppress(OSError):
                part.unlink()


def _may_replace(output: Output) -> bool:
    if not output.path.exists() and not output.path.is_symlink():
        return True
    try:
        found = output.path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return found == output.text or output.is_ours(found)
