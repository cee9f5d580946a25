"""A process of its own: the hub's variables, silence where there is no terminal, and the time of a start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.hub.conftest import NAME
from tests.unit.hub.server import TOKEN, Hub, Repo

FETCH = f"from runtime.hub import Repository, fetch; fetch(Repository('{NAME}'), 'model.safetensors')"
#: What loading a folder of one's own, and the start of anything, do without.
HEAVY = ("huggingface_hub", "tokenizers", "torchvision", "transformers")


def python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True)


@pytest.mark.parametrize("home", ["HF_HOME", "HF_HUB_CACHE"])
def test_the_variables_of_the_hub(hub: Hub, published: Repo, tmp_path: Path, home: str) -> None:
    published.access = "private"
    environment = {home: str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "HF_HUB_ETAG_TIMEOUT": "30"}
    refused = python(FETCH, environment)
    assert "there is no such repository, or it is private and no token is set" in refused.stderr
    fetched = python(FETCH, environment | {"HF_TOKEN": TOKEN})
    assert (fetched.returncode, fetched.stderr) == (0, "")
    hub.requests()
    again = python(FETCH, environment | {"HF_HUB_OFFLINE": "1"})
    assert (again.returncode, again.stderr, hub.requests()) == (0, "", [])


def test_only_what_is_published_needs_the_hub(folder: Path) -> None:
    code = f"import sys, runtime; runtime.load({str(folder)!r}); print(*sys.modules)"
    modules = python(code, {}).stdout.split()
    assert "torch" in modules
    assert [name for name in HEAVY if name in modules] == []


def test_what_the_cache_holds_needs_no_client(hub: Hub, published: Repo, tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": hub.url, "HF_HUB_ETAG_TIMEOUT": "30"}
    modules = [
        python(f"{FETCH}; import sys; print(*sys.modules)", environment).stdout.split() for _ in range(2)
    ]
    assert ["huggingface_hub.file_download" in each for each in modules] == [True, False]
