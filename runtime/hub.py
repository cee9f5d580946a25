"""Files of published repositories: the hub's own cache first, then one short attempt, then what to do.

The cache, the token and every other setting are huggingface_hub's, by its variables (HF_HOME, HF_HUB_CACHE,
HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread
from typing import Final, cast

from compiler.diagnostics.diagnostic import CompileError, Note, fail
from compiler.source.text import Span
from compiler.weights.cache import MAIN, cached, commit_of, known_absent

#: Seconds in which a server has to answer; HF_HUB_ETAG_TIMEOUT sets another.
PATIENCE: Final = 1.5
#: The hub's own limit for a name; a revision is no longer than a file's name may be.
_NAME: Final = re.compile(r"(?=[^@]{3,96}(?:@|$))([\w.-]+/[\w.-]+?)(?:@([\w./-]{1,200}))?", re.ASCII)


@dataclass(frozen=True)
class Repository:
    """A model repository at a revision: a commit, or a branch as it was when its first file was fetched."""

    name: str
    revision: str = MAIN
    span: Span | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.name if self.revision == MAIN else f"{self.name} at {self.revision}"

    @classmethod
    def named(cls, source: object) -> Repository | None:
        """What `owner/name` or `owner/name@revision` means, unless a file or folder has that name."""
        found = _NAME.fullmatch(source) if isinstance(source, str) else None
        if found is None or ".." in found[0] or os.path.exists(found[0]):
            return None
        if found[1].endswith((".yaml", ".yml")):
            return None
        return cls(found[1], found[2] or MAIN)

    def pinned(self) -> Repository:
        """The same at the commit that the cache has for the revision, so that all files are of one commit."""
        return replace(self, revision=commit_of(self.name, self.revision))

    def command(self, *wanted: str) -> str:
        """The shell command that brings files into the cache; of several, each may be a pattern."""
        revision = [] if self.revision == MAIN else ["--revision", self.revision]
        return shlex.join(["hf", "download", self.name, *wanted, *revision])


def reach(place: Repository, file: str, wanted: Sequence[str] = ()) -> None:
    """Ask a repository for a file, once, and raise CompileError unless the server answers as it should.

    wanted: what the message tells to fetch, in place of this file alone.
    """
    with _explained(place, file, place.command(*(wanted or [file]))):
        _knock(place, file)


def fetch(place: Repository, file: str, wanted: Sequence[str] = ()) -> Path | None:
    """The file from the cache or, after one short attempt, from its repository; None where it has none.

    Raises CompileError with the reason and the command that would fetch it.
    """
    found = cached(place.name, place.revision, file)
    if found is not None or known_absent(place.name, place.revision, file):
        return found
    with _explained(place, file, place.command(*(wanted or [file]))):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import RemoteEntryNotFoundError

        listed = _listing(place)
        if listed is not None and file not in listed:
            return None
        try:
            _knock(place, file)
            return Path(hf_hub_download(place.name, file, revision=place.revision))
        except RemoteEntryNotFoundError:
            return None


def _listing(place: Repository) -> frozenset[str] | None:
    """All files of the repository, where the cache knows them: after a download by patterns, as `hf` does."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return frozenset(f.path for f in get_cached_repo_tree(place.name, revision=place.revision))
    except CachedRepoTreeNotFoundError:
        return None


def _patience() -> float:
    from huggingface_hub import constants

    own = constants.HF_HUB_ETAG_TIMEOUT != constants.DEFAULT_ETAG_TIMEOUT
    return constants.HF_HUB_ETAG_TIMEOUT if own else PATIENCE


def _knock(place: Repository, file: str) -> None:
    """Ask for the file once: a download would wait, and ask again, for most of a minute.

    The limit is held from outside, in a thread that is left behind, because the client's own does not count
    the look-up of a host's name, and begins anew at each of its addresses. What is missing is told by the
    download that follows.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import RemoteEntryNotFoundError

    patience = _patience()
    url = hf_hub_url(place.name, file, revision=place.revision)
    answer: Future[None] = Future()

    def ask() -> None:
        try:
            get_hf_file_metadata(url, timeout=2 * patience)
        except RemoteEntryNotFoundError:
            answer.set_result(None)
        except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
            answer.set_exception(error)
        else:
            answer.set_result(None)

    Thread(target=ask, daemon=True).start()
    answer.result(patience)


@contextmanager
def _explained(place: Repository, file: str, command: str) -> Iterator[None]:
    """Turn what the hub's library raises into one CompileError."""
    from huggingface_hub.errors import HfHubHTTPError

    # The HTTP library's root error (httpx by one name or another), OSError, and the hub's own of a bad name.
    failures = cast("tuple[type[Exception], ...]", (*HfHubHTTPError.__bases__, ValueError))
    try:
        yield
    except failures as error:
        raise _failed(place, file, command, error) from None


def _failed(place: Repository, file: str, command: str, error: Exception) -> CompileError:
    from huggingface_hub import constants, errors, get_token

    help = f"`{command}` fetches it"
    match error:
        case errors.LocalEntryNotFoundError(__cause__=Exception() as cause):
            return _failed(place, file, command, cause)
        case errors.OfflineModeIsEnabled():
            reason = "it is not in the cache, and HF_HUB_OFFLINE forbids to ask for it"
        case errors.GatedRepoError():
            reason = "its authors ask for your consent first"
            help = f"give it at {constants.ENDPOINT}/{place.name}, then `hf auth login`; {help}"
        case errors.RepositoryNotFoundError():
            token = "the token in use does not open it" if get_token() else "no token is set"
            reason = f"there is no such repository, or it is private and {token}"
            help = f"`hf auth login`, or HF_TOKEN, gives a token; {help}"
        case errors.RevisionNotFoundError():
            reason = "it has no such revision"
        case errors.HfHubHTTPError():
            said = error.server_message or error.response.reason_phrase
            reason = f"{constants.ENDPOINT} answers {error.response.status_code}: {said}"
        case TimeoutError():
            reason = f"{constants.ENDPOINT} does not answer within {_patience():g} s"
            help = f"{help}; HF_HUB_ETAG_TIMEOUT=10 waits longer"
        case OSError(errno=int(), strerror=str(words)):
            reason = f"{words} (in {constants.HF_HUB_CACHE})"
        case OSError() | ValueError():
            reason = str(error).splitlines()[0]
        case _:
            reason = f"{constants.ENDPOINT} cannot be reached: {error or type(error).__name__}"
    notes = () if place.span is not None else (Note(f"no file or folder is called `{place.name}`"),)
    return fail(
        "not-fetched", f"cannot fetch `{file}` of {place}: {reason}", place.span, notes=notes, help=help
    )
