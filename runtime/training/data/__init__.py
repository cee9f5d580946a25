"""The kinds of data that a recipe can name, one file each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from runtime.training.data.common import DataSection
from runtime.training.data.text import TextSection

DATA: Final[Mapping[str, type[DataSection]]] = MappingProxyType({"text": TextSection})
