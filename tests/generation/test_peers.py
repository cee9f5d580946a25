"""Tokens of greedy and beam search, every one equal to transformers' generate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.generation.peers import PEERS, VARIED, Pair, pair

SEEDS = (0, 1)


@pytest.fixture(scope="module", params=[(n, s) for n in PEERS for s in SEEDS], ids=lambda p: f"{p[0]}-{p[1]}")
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    name, seed = request.param
    return pair(name, seed, tmp_path_factory.mktemp(name), VARIED)


def ends(found: Pair, new: int) -> list[int]:
    """Two tokens that occur where nothing ends, not among the first: one of one row, one of another."""
    free = found.own(new, eos=None)[:, -new:]
    early = set(free[:, : new // 3].flatten().tolist())
    return [next(t for t in row[new // 3 :].tolist() if t not in early) for row in free[:2]]


def filled(found: Tensor, start: int, eos: list[int], pad: int) -> Tensor:
    """Rows of theirs with `pad` behind their end: their beam search puts another token there if pad is 0."""
    found = found.clone()
    for row in found:
        hits = torch.isin(row[start:], torch.tensor(eos)).nonzero()
        if len(hits):
            row[start + int(hits[0]) + 1 :] = pad
    return found


def test_greedy(found: Pair) -> None:
    assert torch.equal(found.own(14), found.peer(14))
    eos = ends(found, 14)
    ours = found.own(14, eos=eos, pad=3)
    assert torch.equal(ours, found.peer(14, eos_token_id=eos, pad_token_id=3))
    assert torch.isin(ours[:, found.start :], torch.tensor(eos)).any()


def test_repetition_penalty(found: Pair) -> None:
    free = found.own(14)
    for penalty in (1.3, 3.0, 0.8):
        ours = found.own(14, repetition_penalty=penalty)
        assert torch.equal(ours, found.peer(14, repetition_penalty=penalty))
        assert penalty != 3 or not torch.equal(ours, free)


BEAMS: list[dict[str, Any]] = [
    {"num_beams": 2},
    {"num_beams": 4, "length_penalty": 2.0},
    {"num_beams": 3, "length_penalty": -0.5, "repetition_penalty": 1.2},
]


def test_beams(found: Pair) -> None:
    eos = ends(found, 14)
    greedy = found.own(14, eos=eos, pad=3)
    changed = []
    for options in BEAMS:
        theirs = found.peer(14, **options, eos_token_id=eos, pad_token_id=3)
        ours = found.own(14, **options, eos=eos, pad=3)
        assert torch.equal(ours, filled(theirs, found.start, eos, 3)), options
        changed.append(not torch.equal(ours, greedy))
    assert any(changed)


@pytest.mark.parametrize("name", PEERS)
def test_without_settings_and_end(name: str, tmp_path: Path) -> None:
    found = pair(name, 7, tmp_path, {})
    found.theirs.generation_config.eos_token_id = found.theirs.generation_config.forced_eos_token_id = None
    assert torch.equal(found.own(11, eos=None), found.peer(11))
    assert torch.equal(found.own(11, num_beams=3, eos=None), found.peer(11, num_beams=3))


SETTINGS: list[dict[str, Any]] = [
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 1},
    {"bad_words_ids": [[token] for token in range(3, 30)]},
    {"suppress_tokens": list(range(3, 40)), "begin_suppress_tokens": list(range(40, 58))},
    {"forced_bos_token_id": 21, "forced_eos_token_id": [22, 23], "begin_suppress_tokens": [5, 6]},
    {"min_length": 12, "eos_token_id": list(range(3, 60))},
    {"bad_words_ids": [[token] for token in range(30, 58)], "renormalize_logits": True},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: next(iter(s)))
@pytest.mark.parametrize("name", ["llama", "bart"])
def test_settings_of_a_folder(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """What its generation_config.json says, greedily and with beams."""
    found = pair(name, 3, tmp_path, settings)
    said = found.theirs.generation_config
    for options in ({}, {"num_beams": 3}):
        theirs = found.peer(13, **options)
        eos = said.eos_token_id if isinstance(said.eos_token_id, list) else [said.eos_token_id]
        pad = eos[0] if said.pad_token_id is None else said.pad_token_id
        assert torch.equal(found.own(13, **options), filled(theirs, found.start, eos, pad))
    assert not torch.equal(found.own(13), pair(name, 3, tmp_path, {}).own(13))


@pytest.mark.parametrize("name", ["llama", "bart"])
def test_bad_words(name: str, tmp_path: Path) -> None:
    """Two and three tokens that stand in what is generated freely."""
    free = pair(name, 4, tmp_path, VARIED).own(13, eos=None)[:, -13:]
    words = [free[0, 3:5].tolist(), free[1, 5:8].tolist(), [5], list(range(6, 40))]
    found = pair(name, 4, tmp_path, {**VARIED, "bad_words_ids": words})
    found.theirs.generation_config.eos_token_id = found.theirs.generation_config.forced_eos_token_id = None
    ours = found.own(13, eos=None)
    assert torch.equal(ours, found.peer(13))
    assert torch.equal(found.own(13, eos=None, num_beams=3), found.peer(13, num_beams=3))
    assert all((ours[:2, -13:] != free[:2]).any(1))


def test_one_token_goes_first(tmp_path: Path) -> None:
    """A token forced after a single start token, in a decoder that begins with nothing else."""
    found = pair("gpt2", 5, tmp_path, {"forced_bos_token_id": 33, "begin_suppress_tokens": [8]})
    theirs = found.theirs.generate(max_new_tokens=6, do_sample=False)
    found.asked.clear()
    assert torch.equal(found.own(6), theirs)
