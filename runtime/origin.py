"""Where a model comes from: the folder or repository that holds its weights and the files beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias
from weakref import WeakKeyDictionary

from torch import nn

from compiler.passes.library import find_spec, read_source
from compiler.pipeline import OWN_SPEC, is_checkpoint, locate
from compiler.syntax.parse import parse
from compiler.weights.cache import MAIN
from compiler.weights.library import Library, Published, WeightMap
from compiler.weights.published import published
from runtime.hub import Repository

#: A checkpoint's own folder, or the repository that it was fetched from.
Origin: TypeAlias = Path | Repository

_origins: WeakKeyDictionary[nn.Module, Origin] = WeakKeyDictionary()


def remember(model: nn.Module, origin: Origin | None) -> None:
    """Note where a module's weights come from."""
    if origin is not None:
        _origins[model] = origin


def origin_of(source: str | Path | nn.Module) -> Origin | None:
    """Where a loaded module, or what a source means, comes from; None where that is nowhere.

    Raises CompileError for a source that means nothing.
    """
    if isinstance(source, nn.Module):
        return _origins.get(source)
    if is_checkpoint(Path(source)):
        return beside(Path(source))
    place = Repository.named(source)
    if place is not None:
        return place
    found = publication(source, library_of(source))
    return repository(found[1]) if found is not None else None


def beside(checkpoint: Path) -> Path:
    """The folder of a checkpoint that is a folder or a file."""
    return checkpoint if checkpoint.is_dir() else checkpoint.parent


def library_of(source: str | Path) -> Library:
    """The maps beside a user's spec come before the packaged ones."""
    if os.path.isfile(Path(source) / OWN_SPEC):
        return Library.standard([Path(source)])
    path = Path(source) if is_checkpoint(Path(source)) else Path(locate(source)[0])
    if path.suffix in (".yaml", ".yml") and os.path.isfile(path):
        return Library.standard([path.parent, path.parent.parent / "weightmaps"])
    return Library.standard()


def publication(
    source: str | Path, library: Library, dialect: str | None = None
) -> tuple[WeightMap, Published] | None:
    """The map that says where a spec's checkpoint is published, in that dialect, and the place."""
    name, variant, _ = locate(source)
    spec = parse(read_source(find_spec(name))).spec
    if spec is None:
        return None
    maps = library.candidates(str(spec.spec.value))
    return published([m for m in maps if dialect in (None, m.dialect)], spec, variant)


def repository(place: Published) -> Repository:
    """The repository that a map names."""
    return Repository(place.repository, place.revision or MAIN, place.span)
