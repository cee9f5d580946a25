"""What can go wrong between a name and its file, and what is said then; and that it is said at once."""

from __future__ import annotations

import errno
import os
import re
import resource
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

import compiler
import runtime
from compiler.weights.cache import cached
from runtime.files import companion, fetch_weights
from runtime.hub import Repository
from tests.unit.hub.conftest import FIRST, NAME, point
from tests.unit.hub.server import Hub, Repo

PLACE = Repository(NAME, FIRST)
WEIGHTS = "model.safetensors"


def refused(place: Repository = PLACE, file: str | None = WEIGHTS) -> str:
    """What is said."""
    with pytest.raises(compiler.CompileError) as caught:
        fetch_weights(place, file)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "not-fetched"
    assert cached(place.name, place.revision, file or WEIGHTS) is None
    return str(caught.value)


def test_no_such_repository_revision_or_file(hub: Hub, published: Repo) -> None:
    assert "there is no such repository, or it is private and no token is set" in refused(Repository("a/b"))
    assert f"of {NAME} at v2: it has no such revision" in refused(Repository(NAME, "v2"))
    assert f"{NAME} at {FIRST} has no `other.safetensors`" in refused(file="other.safetensors")
    del published.commits[FIRST][WEIGHTS]
    assert f"has no `{WEIGHTS}` or `{WEIGHTS}.index.json` or `pytorch_model.bin` or" in refused(file=None)


def test_a_name_that_no_repository_can_have(hub: Hub) -> None:
    assert "cannot fetch `config.json` of a--b/c" in refused_source("a--b/c")
    assert hub.requests() == []


def test_a_gated_repository_says_where_to_consent(hub: Hub, published: Repo) -> None:
    published.access = "gated"
    assert re.search(rf"ask for your consent first[^$]*{hub.url}/{NAME}, then `hf auth login`", refused())


@pytest.mark.parametrize("status", [429, 500, 503, 407])
def test_a_server_in_trouble_is_asked_once(hub: Hub, published: Repo, status: int) -> None:
    hub.status = status
    assert f"{hub.url} answers {status}" in refused()
    assert len(hub.requests()) == 1


def test_a_server_that_is_no_hub(hub: Hub, published: Repo) -> None:
    """As the page of a hotel that wants a room number first."""
    hub.status = 200
    assert "does not seem to be served by a Hugging Face Hub endpoint" in refused()


def test_a_download_that_breaks_is_resumed(
    hub: Hub, published: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1)  # else the size of a small file
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    data = published.commits[FIRST][WEIGHTS]
    hub.breaks = 2
    assert fetch_weights(PLACE, WEIGHTS).read_bytes() == data
    assert hub.ranges == [f"bytes={len(data) // 2}-", f"bytes={(len(data) // 2 + len(data)) // 2}-"]


def test_a_download_that_never_ends_leaves_nothing(
    hub: Hub, published: Repo, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hub.breaks = 1000
    assert "cannot be reached" in refused()
    assert [path for path in cache.rglob("*") if path.suffix in (".incomplete", ".safetensors")] == []
    hub.breaks = 0
    assert fetch_weights(PLACE, WEIGHTS).read_bytes() == published.commits[FIRST][WEIGHTS]


def test_a_full_disk(hub: Hub, published: Repo, cache: Path) -> None:
    """A file that may not grow any further fails as one on a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        said = refused()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"{os.strerror(errno.EFBIG)} (in {cache})" in said
    assert list(cache.rglob("*.incomplete")) == []


def test_a_cache_that_cannot_be_written(hub: Hub, published: Repo, cache: Path) -> None:
    cache.write_text("a file", encoding="utf-8")
    assert f"(in {cache})" in refused()


@contextmanager
def listening(backlog: int) -> Iterator[str]:
    """A socket that accepts connections, up to `backlog` of them, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def swallowing() -> Iterator[str]:
    """An address at which nobody answers: the queue of those who wait is full, and more are dropped."""
    with listening(0) as url:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        try:
            yield url
        finally:
            for each in waiting:
                each.close()


def _slow_names(*arguments: object) -> None:
    time.sleep(4)
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (nullcontext("http://127.0.0.1:9"), "cannot be reached: [Errno 111] Connection refused"),
        (listening(8), "does not answer within 1.5 s"),
        (swallowing(), "does not answer within 1.5 s"),
        (nullcontext("http://hub.invalid"), "does not answer within 1.5 s"),
    ],
    ids=["refused", "silent", "dropped", "no-names"],
)
def test_a_dead_endpoint_is_told_at_once(
    cache: Path, endpoint: pytest.MonkeyPatch, url: nullcontext[str], reason: str
) -> None:
    endpoint.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 10)  # the hub's own default
    import huggingface_hub.file_download  # noqa: F401 - what is waited for is not an import

    with url as where:
        point(endpoint, where)
        if where.endswith(".invalid"):
            endpoint.setattr(socket, "getaddrinfo", _slow_names)
        start = time.monotonic()
        said = refused()
        waited = time.monotonic() - start
    assert f"{where} {reason}" in said
    assert f"`hf download {NAME} {WEIGHTS} '*.json' '*.txt' '*.jinja' --revision {FIRST}` fetches it" in said
    assert waited < 2


def test_a_proxy_that_is_not_there(hub: Hub, published: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert "Connection refused" in refused()
    assert hub.requests() == []


def test_a_companion_that_cannot_be_asked_for(hub: Hub, published: Repo) -> None:
    model = runtime.load(NAME)
    hub.status = 503
    with pytest.raises(compiler.CompileError, match=f"`hf download {NAME} README.md --revision {FIRST}`"):
        companion(model, "README.md")
    hub.status = 0
    assert companion(model, "README.md") is None


@pytest.mark.parametrize("form", ["file", "index", "repository"])
def test_the_command_of_the_message_fetches_it(
    hub: Hub, published: Repo, cache: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole: afterwards the model loads, and what belongs to it or does not is known, without a network."""
    file = f"{WEIGHTS}.index.json" if form == "index" else WEIGHTS
    files = published.commits[FIRST]
    if form == "index":
        whole = files.pop(WEIGHTS)
        shard = "model-00001-of-00001.safetensors"
        index = b'{"weight_map": {%s}}' % b", ".join(
            b'"%s": "%s"' % (k, shard.encode()) for k in _keys(whole)
        )
        published.commits[FIRST] |= {shard: whole, file: index}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    said = refused_source(NAME) if form == "repository" else refused(file=file)
    (command,) = re.findall(r"`(hf download .*)` fetches it", said)
    name, *arguments = shlex.split(command)
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "PATH": "", "HOME": str(cache)}
    subprocess.run([Path(sys.executable).with_name(name), *arguments], env=environment, check=True)
    hub.requests()
    place = NAME if form == "repository" else f"{NAME}@{FIRST}"
    model = runtime.load(place)
    assert companion(model, "merges.txt") is not None
    assert companion(model, "vocab.txt") is None
    assert hub.requests() == []


def _keys(data: bytes) -> list[bytes]:
    import safetensors.torch

    return [key.encode() for key in safetensors.torch.load(data)]


def refused_source(source: str) -> str:
    with pytest.raises(compiler.CompileError) as caught:
        runtime.load(source)
    return str(caught.value)
