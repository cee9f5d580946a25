"""Pictures in folders, one folder for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.source.text import Span
from runtime.training.data.common import Data, Example, FileSection, Source, needs_extra, shuffled
from runtime.training.data.pixels import PixelsSection
from runtime.training.fields import Positive

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})
SIZED: Final = 1000


class FoldersSection(PixelsSection, FileSection):
    """image: the side that pictures are brought to, in pixels; they come in three colors."""

    image: Positive

    def read(self, tokenizer: object) -> Data:
        """Folders in the order of their names are the classes; part of the pictures is held out at random."""
        folder = self.found()
        found = {path.name: _pictures(path) for path in _folders(folder)}
        names = tuple(found)
        rows = [(path, number) for number, paths in enumerate(found.values()) for path in paths]
        if not rows:
            raise fail("not-found", f"there are no pictures in folders of `{folder}`", self.span)
        empty = [f"`{name}`" for name, paths in found.items() if not paths]
        if empty:
            message = f"a folder of `{folder}` without pictures would be a class: {', '.join(empty)}"
            raise fail("bad-value", message, self.span, help="remove it, or put pictures into it")
        rows = [rows[i] for i in shuffled(len(rows))][: self.limit]
        held = round(len(rows) * self.held_out)
        parts = [Files(self, folder, part) for part in (rows[held:], rows[:held])]
        facts = {"classes": len(names), "image": self.image, "channels": 3}
        return Data(
            parts[0],
            parts[1],
            facts=facts,
            labels=names,
            pixel_mean=self.mean,
            pixel_std=self.std,
        )


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name; hidden ones left out."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(folder: Path) -> list[str]:
    """The pictures anywhere below a folder, by name; what is hidden left out."""
    found = []
    for at, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = (name for name in files if not name.startswith("."))
        found += [os.path.join(at, name) for name in shown if os.path.splitext(name)[1].lower() in SUFFIXES]
    return sorted(found, key=lambda path: path.split(os.sep))


class Files:
    """Pictures that are opened when their turn comes."""

    def __init__(self, section: FoldersSection, folder: Path, rows: Sequence[tuple[str, int]]) -> None:
        self.section, self.folder, self.rows = section, folder, rows

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """pixels float[3, H, W] and the number of its class, int[]."""
        path, label = self.rows[index]
        pixels = self.section.look(open_rgb(path, self.section.image, self.section.span), rng)
        return {"pixels": pixels, "labels": torch.tensor(label)}

    def sources(self) -> Iterator[Source]:
        """The name of each below the folder and its class; the size in bytes of up to SIZED of them, evenly
        spread: asking for all would take as long as listing them.
        """
        above = len(str(self.folder))
        yield from (f"{path[above:]} {label}" for path, label in self.rows)
        for path, _ in self.rows[:: -(-len(self.rows) // SIZED) or 1]:
            try:
                yield str(os.stat(path).st_size)
            except OSError as error:
                raise self.section.unreadable(Path(path), error) from None


def open_rgb(path: str | Path, side: int, span: Span) -> Tensor:
    """A picture as uint8[3, side, side], on white where it is transparent. span: where the data is named.
    Raises CompileError.
    """
    try:
        from PIL import Image
    except ImportError:
        raise needs_extra("pictures", "Pillow", "vision", span) from None
    try:
        with Image.open(path) as opened:
            picture: Any = opened.convert("RGBA").resize((side, side), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise fail("unreadable", f"`{path}` is no picture: {error}", span) from None
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    data = torch.frombuffer(bytearray(ground.convert("RGB").tobytes()), dtype=torch.uint8)
    return data.reshape(side, side, 3).permute(2, 0, 1).contiguous()
