"""Pictures from files and from memory, as 8-bit channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor, frombuffer, int32, uint8, uint16

from compiler.diagnostics.diagnostic import CompileError, fail
from compiler.source.text import SourceFile, Span, display_name
from runtime.extras import install

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pillow's names of pictures of that many channels.
_MODES: Final = {1: "L", 3: "RGB"}
#: Modes whose values Pillow cuts at 255 instead of scaling them.
_WIDE: Final = ("I", "F")


def functional() -> Any:
    """torchvision.transforms.v2.functional. Raises CompileError with the command that installs it."""
    try:
        from torchvision.transforms.v2 import functional as found
    except ImportError as error:
        message = f"pictures are read with torchvision and Pillow: {error}"
        raise fail("unreadable", message, None, help=install("vision")) from None
    return found


def open_picture(picture: str | Path | Image | Tensor, channels: int) -> Image | Tensor:
    """The picture with that many 8-bit channels, a tensor as a tensor. Raises CompileError."""
    if isinstance(picture, Tensor):
        return _tensor(picture, channels)
    if not isinstance(picture, str | Path):
        return _converted(picture, channels, None)
    from PIL import Image as files
    from PIL import ImageOps

    path = Path(picture)
    try:
        with files.open(path) as opened:
            return _converted(ImageOps.exif_transpose(opened), channels, path)
    except FileNotFoundError:
        raise fail("not-found", f"there is no picture `{display_name(path)}`", None) from None
    except (OSError, ValueError, SyntaxError, files.DecompressionBombError) as error:
        raise _unreadable(path, f"no picture that can be read: {error}") from None


def _converted(picture: Image, channels: int, path: Path | None) -> Image:
    if picture.mode in _WIDE:
        what = f"a picture of the kind `{picture.mode}`, whose values have no known range"
        raise _unreadable(path, what) if path is not None else fail("unreadable", what, None)
    if picture.mode.startswith("I;16"):  # as Pillow reads colours of 16 bits: the upper 8
        picture = _upper_bits(picture)
    return picture.convert(_MODES[channels])


def _upper_bits(picture: Image) -> Image:
    from PIL import Image as files

    wide = frombuffer(bytearray(picture.tobytes("raw", "I;16")), dtype=uint16)
    narrow = (wide.to(int32) >> 8).to(uint8).view(picture.height, picture.width)
    return files.frombytes("L", picture.size, bytes(narrow.numpy()))


def _tensor(picture: Tensor, channels: int) -> Tensor:
    if picture.dtype != uint8 or picture.ndim != 3 or picture.shape[0] not in (1, channels):
        found = f"{str(picture.dtype).removeprefix('torch.')}{list(picture.shape)}"
        raise fail("usage", f"a picture is uint8[{channels}, H, W], not {found}", None)
    return picture.expand(channels, -1, -1)


def _unreadable(path: Path, message: str) -> CompileError:
    return fail("unreadable", message, Span(SourceFile(display_name(path), ""), 0, 0, 0, 0))
