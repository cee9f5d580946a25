"""A task's model by its repository: the kind is known before the weights are fetched."""

from __future__ import annotations

import pytest

from runtime.cli.main import main
from tests.unit.hub.conftest import NAME
from tests.unit.hub.server import Hub, Repo


def test_a_repository_is_asked_what_it_is_first(
    hub: Hub, published: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", NAME, "a text"]) == 1
    said = capsys.readouterr()
    assert "what works with `gpt2`: `generate`, `chat`" in said.err and said.out == ""
    asked = [path for _, path, _ in hub.requests()]
    assert any("config.json" in path for path in asked) and not any("safetensors" in path for path in asked)
    assert main(["generate", NAME, "--tokens", "1,2", "--max-new-tokens", "3"]) == 0
    assert len(capsys.readouterr().out.split(",")) <= 3
