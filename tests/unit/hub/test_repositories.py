"""Models by the name of their repository: what is fetched, what is asked again, and of which commit it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import compiler
import runtime
from compiler.backend.build import program_of
from compiler.cli.catalog import catalog
from compiler.weights.cache import cached_weights
from runtime.checkpoint.writer import TensorStream, write_safetensors
from runtime.files import companion
from runtime.hub import Repository
from tests.unit.hub.conftest import FIRST, NAME, SECOND, SMALL
from tests.unit.hub.server import TOKEN, Hub, Repo

SPEC = "spec: small\nextends: gpt2\nparams: {dim: 24, heads: 3, depth: 2, vocab: 50}\nvariants: {bare: {}}\n"


def same(model: nn.Module, folder: Path) -> bool:
    ours, theirs = model.state_dict(), runtime.load(folder).state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def paths(hub: Hub) -> list[str]:
    return [f"{method} {path}" for method, path, _ in hub.requests()]


def test_the_second_load_asks_for_nothing(hub: Hub, published: Repo, folder: Path) -> None:
    first = runtime.load(NAME)
    assert same(first, folder)
    assert f"HEAD /{NAME}/resolve/main/config.json" in paths(hub)
    assert same(runtime.load(NAME), folder)
    assert companion(first, "tokenizer.json", "merges.txt") == companion(NAME, "merges.txt")
    assert companion(first, "vocab.txt", "chat_template.jinja") is None
    assert paths(hub) == []


def test_nothing_is_asked_where_there_is_no_network(
    hub: Hub, published: Repo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.load(NAME)
    hub.requests()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = runtime.load(NAME)
    assert same(model, folder)
    assert companion(model, "tokenizer.json") is None
    with pytest.raises(compiler.CompileError, match="HF_HUB_OFFLINE forbids"):
        companion(model, "README.md")
    with pytest.raises(compiler.CompileError, match="HF_HUB_OFFLINE forbids"):
        runtime.load("someone/else")
    assert paths(hub) == []


def test_how_it_generates_is_known_from_the_first_load(hub: Hub, published: Repo) -> None:
    """The config beside config.json counts when the spec is made, which is before the weights are fetched."""
    published.commits[FIRST]["generation_config.json"] = b'{"eos_token_id": 7}'
    for _ in range(2):
        assert program_of(runtime.load(NAME)).typed.graph.io["eos"] == 7


def test_all_files_are_of_one_commit(hub: Hub, published: Repo, folder: Path, tmp_path: Path) -> None:
    """Whatever is published between two requests."""
    runtime.load(NAME, weights=None)
    published.commits[SECOND] = {"config.json": b"{}", "model.safetensors": b"another"}
    model = runtime.load(NAME)
    assert same(model, folder)
    assert all(SECOND not in path for path in paths(hub))
    with pytest.raises(compiler.CompileError, match="no weight map reads"):
        runtime.load(f"{NAME}@{SECOND}")
    assert same(runtime.load(f"{NAME}@{FIRST}"), folder)


def test_shards_are_fetched_whole(hub: Hub, published: Repo, folder: Path, tmp_path: Path) -> None:
    files = shards(runtime.load(folder), tmp_path / "shards")
    config = published.commits[FIRST]["config.json"]
    hub.repos[NAME] = Repo({FIRST: {"config.json": config, **files}})
    assert len(files) > 3
    assert same(runtime.load(NAME), folder)
    hub.requests()
    assert same(runtime.load(NAME), folder)
    assert paths(hub) == []


def test_a_missing_shard_is_told_and_found_later(
    hub: Hub, published: Repo, folder: Path, tmp_path: Path
) -> None:
    files = shards(runtime.load(folder), tmp_path / "shards")
    name = sorted(files)[1]
    rest = {"config.json": published.commits[FIRST]["config.json"], **files}
    data = rest.pop(name)
    hub.repos[NAME] = Repo({FIRST: rest})
    with pytest.raises(
        compiler.CompileError, match=f"has no `{name}`, which its `model.safetensors.index.json`"
    ):
        runtime.load(NAME)
    assert cached_weights(NAME, "main", None) is None
    hub.repos[NAME] = Repo({SECOND: {**rest, name: data}})
    assert same(runtime.load(f"{NAME}@{SECOND}"), folder)


def test_a_spec_finds_what_its_map_names(hub: Hub, published: Repo, folder: Path, tmp_path: Path) -> None:
    source = write_spec(tmp_path, f"{{repository: {NAME}, revision: {FIRST}, file: model.safetensors}}")
    for model in (runtime.load(source), runtime.load(f"{source}:bare")):
        assert same(model, folder)
    assert companion(source, "merges.txt") == companion(runtime.load(source), "merges.txt") is not None


def test_a_spec_without_a_revision_takes_main_once(
    hub: Hub, published: Repo, folder: Path, tmp_path: Path
) -> None:
    source = write_spec(tmp_path, f"{{repository: {NAME}}}")
    runtime.load(source)
    published.commits[SECOND] = {}
    hub.requests()
    assert same(runtime.load(source), folder)
    assert paths(hub) == []


def test_the_listing_says_what_the_cache_holds(
    hub: Hub, published: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_spec(tmp_path, f"{{repository: {NAME}}}")
    monkeypatch.setenv("BLOCKWRIGHT_PATH", str(tmp_path))
    monkeypatch.setattr("compiler.cli.catalog.spec_names", lambda: ["small"])
    assert [row.weights_text() for row in catalog()[0]] == [f"hf ({NAME})"] * 2
    runtime.load(source)
    rows, faults = catalog()
    assert [row.weights_text() for row in rows] == [f"hf ({NAME}, cached)"] * 2 and not faults
    assert Path(str(rows[0].weights.cached)).read_bytes() == published.commits[FIRST]["model.safetensors"]


def test_a_label_that_no_variant_has_is_a_fault(tmp_path: Path) -> None:
    source = write_spec(tmp_path, f"{{repository: {NAME}}}", label="bear")
    with pytest.raises(compiler.CompileError, match=r"no variant `bear`[^$]*did you mean `bare`"):
        runtime.load(source)


@pytest.mark.parametrize(
    ("source", "dialect", "message"),
    [
        ("mistral:v0.2", None, r"published for `mistral:v0.2`[^$]*mistral.hf names those of default, v0.3"),
        (
            "clip_vitb32",
            "openai",
            r"in the dialect `openai`[^$]*clip_vitb32.hf names those of default, vitb16",
        ),
        ("char_gpt", None, r"published for `char_gpt`[^$]*or weights=None for initial values"),
    ],
)
def test_what_is_published_nowhere(hub: Hub, source: str, dialect: str | None, message: str) -> None:
    with pytest.raises(compiler.CompileError, match=message):
        runtime.load(source, dialect=dialect)
    assert hub.requests() == []


def test_weights_of_a_repository_for_a_spec(hub: Hub, published: Repo, folder: Path) -> None:
    assert same(runtime.load("gpt2", weights=NAME, set=SMALL), folder)


def test_what_stands_here_comes_before_what_is_published(
    hub: Hub, published: Repo, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone").mkdir()
    (tmp_path / NAME).symlink_to(folder)
    assert same(runtime.load(NAME), folder)
    assert same(runtime.load("gpt2", weights=NAME, set=SMALL), folder)
    assert paths(hub) == []


@pytest.mark.parametrize(
    "source", ["gpt2", "./a/b", "a/b/c", "a/b.yaml", "/a/b", "a/b:xl", "a b/c", "a/b@", "../b", "a/b@../c"]
)
def test_these_are_no_repositories(source: str) -> None:
    assert Repository.named(source) is None


def test_a_private_repository_is_opened_by_a_token_that_stays_on_the_hub(
    hub: Hub, published: Repo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.access = "private"
    with pytest.raises(compiler.CompileError, match=r"private and no token is set[^$]*`hf auth login`"):
        runtime.load(NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(compiler.CompileError, match="private and the token in use does not open it"):
        runtime.load(NAME)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.requests()
    assert same(runtime.load(NAME), folder)
    asked = hub.requests()
    assert any(path.startswith("/other-host/") for _, path, _ in asked)
    assert all(path.startswith("/other-host/") != token for _, path, token in asked)


def test_a_token_of_hf_auth_login(hub: Hub, published: Repo, folder: Path, tmp_path: Path) -> None:
    published.access = "gated"
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    assert same(runtime.load(NAME), folder)


def shards(model: nn.Module, folder: Path) -> dict[str, bytes]:
    """A checkpoint's tensors in several files, with their index."""
    runtime.export(model, folder / "whole")
    from safetensors.torch import load_file

    tensors = load_file(folder / "whole" / "model.safetensors")
    written = write_safetensors(folder / "parts", TensorStream.of(tensors), max_shard_bytes=8000)
    assert json.loads((folder / "parts" / "model.safetensors.index.json").read_text())["weight_map"]
    return {path.name: path.read_bytes() for path in written}


def write_spec(folder: Path, place: str, label: str = "default") -> str:
    """A spec of the user's that extends GPT-2, and a map that says where its checkpoint is published."""
    (folder / "small.yaml").write_text(SPEC, encoding="utf-8")
    map = f"weightmap: 1\nspec: small\ndialect: hf\nextends: gpt2.hf\nfiles: {{{label}: {place}}}\n"
    (folder / "small.hf.yaml").write_text(map, encoding="utf-8")
    return str(folder / "small.yaml")
