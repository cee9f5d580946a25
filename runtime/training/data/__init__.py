"""The kinds of data that a recipe can name, one file each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from runtime.training.data.arrays import ArraysSection
from runtime.training.data.captions import CaptionsSection
from runtime.training.data.common import DataSection
from runtime.training.data.folders import FoldersSection
from runtime.training.data.idx import IdxSection
from runtime.training.data.pairs import CataloguesSection, LinesSection
from runtime.training.data.rows import RowsSection
from runtime.training.data.text import TextSection
from runtime.training.data.volumes import VolumesSection

DATA: Final[Mapping[str, type[DataSection]]] = MappingProxyType(
    {
        "text": TextSection,
        "rows": RowsSection,
        "lines": LinesSection,
        "catalogues": CataloguesSection,
        "images": FoldersSection,
        "arrays": ArraysSection,
        "idx": IdxSection,
        "captions": CaptionsSection,
        "volumes": VolumesSection,
    }
)
