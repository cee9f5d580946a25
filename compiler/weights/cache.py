"""What the hub's cache on this machine holds: found without a request, and without the hub's client, which
takes longer to import than the file to open. Layout: huggingface_hub's guide "Understand caching".
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from compiler.weights.readers.folder import CANDIDATES, INDEX_SUFFIX, weight_map

MAIN: Final = "main"


def cached(repository: str, revision: str, file: str) -> Path | None:
    """A file of a repository `owner/name` at a commit or branch, where the cache has it."""
    path = _home(repository) / "snapshots" / commit_of(repository, revision) / file
    return path if path.is_file() else None


def known_absent(repository: str, revision: str, file: str) -> bool:
    """Whether the hub has said that the repository has no such file."""
    return (_home(repository) / ".no_exist" / commit_of(repository, revision) / file).is_file()


def cached_weights(repository: str, revision: str, file: str | None) -> Path | None:
    """The file, or an index with all of its shards; file: left out, the first of the usual names."""
    names = CANDIDATES if file is None else (file,)
    found = (cached(repository, revision, name) for name in names)
    return next((path for path in found if path is not None and _whole(path)), None)


def _whole(path: Path) -> bool:
    if not path.name.endswith(INDEX_SUFFIX):
        return True
    return all((path.parent / shard).is_file() for shard in set(weight_map(path).values()))


def commit_of(repository: str, revision: str) -> str:
    """The commit that a branch meant when it was last asked for; the revision itself where it is a commit."""
    ref = _home(repository) / "refs" / revision
    return ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision


def _home(repository: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
