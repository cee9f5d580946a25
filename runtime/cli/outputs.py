"""Files that a task writes: whole or not at all, and never over what is not known to be ours."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from compiler.diagnostics.diagnostic import fail
from compiler.source.text import display_name

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

PNG, SAFETENSORS = ".png", ".safetensors"
#: In our PNG files, so that a later run may replace them.
_MARK: Final = ("Software", "blockwright")


def add_output(parser: argparse.ArgumentParser, kind: str, what: str, default: Path | None = None) -> None:
    """-o/--output and --force. kind: how the name of the file ends."""
    shown = f"{what} (default: {default})" if default is not None else what
    parser.add_argument("-o", "--output", metavar=f"FILE{kind}", type=Path, default=default, help=shown)
    parser.add_argument("--force", action="store_true", help="overwrite the file whatever it holds")


def check_output(options: argparse.Namespace, kind: str) -> None:
    """Raise CompileError, before any work, where the answer cannot go."""
    path: Path | None = options.output
    if path is None:
        return
    if path.suffix.lower() != kind:
        message = f"`{display_name(path)}` does not end in {kind}, which is what is written"
        raise fail("usage", message, None, help=f"-o {path.stem}{kind}")
    if path.exists() and not options.force and not _is_our_picture(path):
        message = f"`{display_name(path)}` exists and was not drawn by this program"
        help = "choose another place, or pass --force to overwrite it"
        raise fail("not-writable", message, None, help=help)


def write_picture(picture: Image, path: Path) -> None:
    """Write a PNG file. Raises CompileError."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(*_MARK)
    _write(path, lambda part: picture.save(part, format="PNG", pnginfo=info))


def write_vectors(vectors: torch.Tensor, path: Path) -> None:
    """Write a safetensors file with the tensor `vectors`. Raises CompileError."""
    from safetensors.torch import save_file

    _write(path, lambda part: save_file({"vectors": vectors}, part))


def _write(path: Path, save: Callable[[Path], object]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(part)
        os.replace(part, path)
    except OSError as error:
        message = f"`{display_name(path)}` cannot be written: {error.strerror or error}"
        raise fail("not-writable", message, None) from None
    finally:
        with suppress(OSError):
            part.unlink()


def _is_our_picture(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as found:
            return bool(found.info.get(_MARK[0]) == _MARK[1])
    except (OSError, ValueError):
        return False
