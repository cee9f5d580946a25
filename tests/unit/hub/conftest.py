"""A hub on this machine, an empty cache, and a small GPT-2 published there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

import runtime
from tests.unit.hub.server import Hub, Repo, serving

FIRST, SECOND = "1a" * 20, "2b" * 20
NAME = "someone/small-gpt2"
SMALL = {"dim": 24, "heads": 3, "depth": 2, "vocab": 50}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no token, and patience on a busy machine."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (
        ("HF_HUB_CACHE", str(tmp_path / "cache")),
        ("HF_TOKEN_PATH", str(tmp_path / "token")),
        ("HF_HUB_OFFLINE", False),
        ("HF_HUB_ETAG_TIMEOUT", 30),
    ):
        monkeypatch.setattr(constants, name, value)
    return tmp_path / "cache"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """For `point`: the client's connections are its own."""
    huggingface_hub.close_session()
    yield monkeypatch
    huggingface_hub.close_session()


def point(endpoint: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT does to a new process."""
    endpoint.setattr(constants, "ENDPOINT", url)
    endpoint.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )


@pytest.fixture
def hub(cache: Path, endpoint: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with nothing on it."""
    with serving() as hub:
        point(endpoint, hub.url)
        yield hub


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GPT-2 as a folder."""
    path = tmp_path_factory.mktemp("models") / "gpt2"
    runtime.export(runtime.load("gpt2", weights=None, set=SMALL), path)
    return path


@pytest.fixture
def published(hub: Hub, folder: Path) -> Repo:
    """The small GPT-2 as a repository."""
    files = {p.name: p.read_bytes() for p in folder.iterdir()} | {"merges.txt": b"#version: 0.2\n"}
    hub.repos[NAME] = Repo({FIRST: files})
    return hub.repos[NAME]
