"""Pictures in folders, one folder for each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from runtime.training.data.common import Data, Example, FileSection, Source, shuffled
from runtime.training.data.pixels import PixelsSection
from runtime.training.fields import Positive

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})


class FoldersSection(PixelsSection, FileSection):
    """image: the side that pictures are brought to, in pixels; they come in three colors."""

    image: Positive

    def read(self, tokenizer: object) -> Data:
        """Folders in the order of their names are the classes; part of the pictures is held out at random."""
        folder = self.found()
        names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        rows = [
            (path, number)
            for number, name in enumerate(names)
            for path in sorted((folder / name).rglob("*"))
            if path.suffix.lower() in SUFFIXES
        ]
        if not rows:
            raise fail("not-found", f"there are no pictures in folders of `{folder}`", self.span)
        rows = [rows[i] for i in shuffled(len(rows))][: self.limit]
        held = round(len(rows) * self.held_out)
        parts = [Files(self, folder, part) for part in (rows[held:], rows[:held])]
        facts = {"classes": len(names), "image": self.image, "channels": 3}
        return Data(
            parts[0],
            parts[1],
            facts=facts,
            labels=tuple(names),
            pixel_mean=self.mean,
            pixel_std=self.std,
        )


class Files:
    """Pictures that are opened when their turn comes."""

    def __init__(self, section: FoldersSection, folder: Path, rows: Sequence[tuple[Path, int]]) -> None:
        self.section, self.folder, self.rows = section, folder, rows

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, index: int, rng: torch.Generator | None) -> Example:
        """pixels float[3, H, W] and the number of its class, int[]."""
        path, label = self.rows[index]
        pixels = self.section.look(open_rgb(path, self.section.image), rng)
        return {"pixels": pixels, "labels": torch.tensor(label)}

    def sources(self) -> Iterator[Source]:
        """The name of each below the folder, its size in bytes, its class."""
        above = len(str(self.folder))
        for path, label in self.rows:
            try:
                size = path.stat().st_size
            except OSError as error:
                raise self.section.unreadable(path, error) from None
            yield f"{str(path)[above:]} {size} {label}"


def open_rgb(path: Path, side: int) -> Tensor:
    """A picture as uint8[3, side, side], on white where it is transparent. Raises CompileError."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture: Any = opened.convert("RGBA").resize((side, side), Image.Resampling.BILINEAR)
    except OSError as error:
        raise fail("unreadable", f"`{path}` is no picture: {error}", None) from None
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    data = torch.frombuffer(bytearray(ground.convert("RGB").tobytes()), dtype=torch.uint8)
    return data.reshape(side, side, 3).permute(2, 0, 1).contiguous()
