"""The files of a model: its weights, its config, and what stands beside them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from torch import nn

from compiler.diagnostics.diagnostic import fail
from compiler.weights.cache import cached, cached_weights
from compiler.weights.config_source import CONFIG, GENERATION
from compiler.weights.readers.folder import CANDIDATES, INDEX_SUFFIX, weight_map
from runtime.hub import Repository, fetch, reach
from runtime.origin import Origin, origin_of

#: The small files that belong to a model: fetched with its weights, so that all is there without a network.
COMPANIONS: Final = (
    CONFIG,
    GENERATION,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "preprocessor_config.json",
    "chat_template.jinja",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
#: Patterns of the same, for the commands in messages; and what to fetch where nothing is known.
_SMALL: Final = ("*.json", "*.txt", "*.jinja")
_ANY: Final = ("model*.safetensors", *_SMALL)


def companion(source: str | Path | nn.Module, *names: str) -> Path | None:
    """The first of these files that stands beside a model's weights; None where there is none of them.

    source: a loaded module, or what `load` takes. A file of a repository comes from the cache, or is fetched
    in one short attempt. Raises CompileError where it cannot be known whether there is one.
    """
    origin = origin_of(source)
    if origin is None:
        return None
    if isinstance(origin, Path):
        return _first(origin / name for name in names if (origin / name).is_file())
    return _first(fetch(origin, name) for name in names)


def carried(model: nn.Module) -> dict[str, bytes]:
    """The files about texts, images and sound that stand beside a module's weights, for a copy of it.

    Of a repository, those that the cache holds.
    """
    origin = origin_of(model)
    found: dict[str, bytes] = {}
    for name in COMPANIONS:
        path = None if origin is None else _here(origin, name)
        if path is not None and name not in (CONFIG, GENERATION):
            found[name] = path.read_bytes()
    return found


def _here(origin: Origin, name: str) -> Path | None:
    """The file, without asking anyone."""
    if isinstance(origin, Path):
        return origin / name if (origin / name).is_file() else None
    return cached(origin.name, origin.revision, name)


def fetch_config(place: Repository) -> Path:
    """The config.json of a repository, which says what it is, with the one that is read beside it.
    Raises CompileError.
    """
    found = fetch(place, CONFIG, _ANY)
    if found is None:
        raise fail(
            "not-fetched",
            f"{place} has no `{CONFIG}`, which would say what it is",
            place.span,
            help=f'name the spec: load(SPEC, weights="{place.name}")',
        )
    fetch(place.pinned(), GENERATION, _ANY)
    return found


def fetch_weights(place: Repository, file: str | None = None) -> Path:
    """The file, or an index with all of its shards: from the cache, else fetched with what belongs to it.

    file: left out, the first of the usual names that the repository has. Raises CompileError.
    """
    names = CANDIDATES if file is None else (file,)
    found = cached_weights(place.name, place.revision, file)
    if found is None:
        wanted = _ANY if file is None else _wanted(file)
        reach(place, names[0], wanted)
        for name in COMPANIONS:
            fetch(place, name, wanted)
            place = place.pinned()
        found = _first(fetch(place, name, wanted) for name in names)
    if found is None:
        raise fail("not-fetched", f"{place} has no {' or '.join(f'`{name}`' for name in names)}", place.span)
    if found.name.endswith(INDEX_SUFFIX):
        index = next(name for name in names if found.match(name))
        _fetch_shards(place.pinned(), index, found)
    return found


def _fetch_shards(place: Repository, index: str, path: Path) -> None:
    for name in sorted(set(weight_map(path).values())):
        shard = posixpath.join(posixpath.dirname(index), name)
        if fetch(place, shard, _wanted(index)) is None:
            raise fail("not-fetched", f"{place} has no `{shard}`, which its `{index}` lists", place.span)


def _wanted(file: str) -> tuple[str, ...]:
    """The arguments of `hf download` for a file, or an index and its shards, and for what belongs to it."""
    if not file.endswith(INDEX_SUFFIX):
        return (file, *_SMALL)
    stem, suffix = posixpath.splitext(file.removesuffix(INDEX_SUFFIX))
    return (file, f"{stem}-*{suffix}", *_SMALL)


def _first(paths: Iterable[Path | None]) -> Path | None:
    return next((path for path in paths if path is not None), None)
