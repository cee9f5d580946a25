"""Where specs, blocks and weight maps are looked for."""

from __future__ import annotations

import os
from pathlib import Path

#: Folders of the user's own specs/, weightmaps/ (or of the files themselves), before the packaged ones.
SEARCH_VARIABLE = "BLOCKWRIGHT_PATH"


def packaged(kind: str) -> Path:
    """The folder of `specs`, `weightmaps` or `recipes`: in the package,
    or in an editable checkout beside it.
    """
    package = Path(__file__).resolve().parent.parent
    shipped = package / "data" / kind
    return shipped if shipped.is_dir() else package.parent / kind


def search_folders(kind: str) -> tuple[Path, ...]:
    """The folders that hold files of a kind, nearest first."""
    own = [Path(p) for p in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if p]
    found = [folder for base in own for folder in (base / kind, base) if folder.is_dir()]
    return (*found, packaged(kind))
