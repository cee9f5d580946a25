"""Every code fence of the documents that newcomers paste from works in a fresh clone, as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.artifacts import FOLDER, need
from tests.contract import clone, documents
from tests.contract.documents import Step


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("clone")
    return folder, clone.clone(folder)


# `./check` runs this very test.
@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md", "docs/generation.md"])
def test_what_is_pasted_works(name: str, fresh: tuple[Path, dict[str, str]]) -> None:
    folder, environment = fresh
    assert documents.faults(folder / name, folder, environment, without="./check") == []


def test_tasks_work_on_the_published_models(fresh: tuple[Path, dict[str, str]]) -> None:
    """The page fetches its models; here they are those that the tests have."""
    folder, environment = fresh
    for name in ("smollm2", "minilm", "antiberty", "whisper", "speech", "photos"):
        need(name)
    place = folder / ".cache" / "artifacts"
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(FOLDER.resolve())
    assert documents.faults(folder / "docs" / "tasks.md", folder, environment) == []


def test_the_commands_are_these() -> None:
    """The README opens with the two commands that set everything up, and nothing comes before them."""
    first = next(documents.steps(clone.ROOT / "README.md"))
    assert first.code.splitlines() == ["./run blockwright build specs/clip_vitb32.yaml", "./check"]


@pytest.mark.parametrize("name", [n for n in clone.files() if n.endswith(".md")])
def test_links_lead_somewhere(name: str) -> None:
    page = clone.ROOT / name
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_decisions_are_numbered() -> None:
    """From 0001 on without gaps, each number in the name of the file and in its heading."""
    pages = sorted((clone.ROOT / "docs" / "adr").iterdir())
    assert [page.name[:5] for page in pages] == [f"{n:04}-" for n in range(1, len(pages) + 1)]
    for page in pages:
        assert page.read_text(encoding="utf-8").startswith(f"# {page.name[:4]}. ")


def test_differences_are_seen() -> None:
    step = Step("c", "a\n...\nz\n")
    assert step.fault("a\nz\n", 0) == step.fault("a\nb\nc\nz\n", 0) == ""
    assert step.fault("a\nz\ny\n", 0) and step.fault("b\nz\n", 0) and step.fault("a\nz\n", 1)
    assert Step("c", None).fault("x", 1) and not Step("c", None).fault("x", 0)
    assert Step("c", "error[x]: y\n").fault("error[x]: y\n", 0) and not Step("c", "error[x]: y\n").fault(
        "error[x]: y\n", 1
    )
