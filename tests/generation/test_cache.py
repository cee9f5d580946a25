"""What a cache, padding and neighbours must not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import compiler
import runtime
from compiler.backend.build import program_of
from runtime.generation.cache import entries
from runtime.generation.decoder import Decoder
from runtime.generation.interface import interface_of
from runtime.generation.prompt import prompt
from tests.generation.peers import CONTEXT, PEERS, SEQ2SEQ, SINGLE, VARIED, Pair, pair


@pytest.fixture(scope="module", params=PEERS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(request.param, 2, tmp_path_factory.mktemp(request.param), VARIED)


def close(found: Pair, a: Tensor, b: Tensor) -> None:
    tolerance = 1e-5 if found.name in SINGLE else 1e-11
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def test_cached_logits_are_uncached_ones(found: Pair) -> None:
    """Of every step of a generation, in all rows."""
    model: Any = found.ours
    texts = found.own(12, eos=None)
    seen: list[Tensor] = []
    name = "decode" if found.name in SEQ2SEQ else "forward"
    call = getattr(model, name)

    def heard(*given: Any, **named: Any) -> Tensor:
        seen.append(call(*given, **named))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, name, heard)
        assert torch.equal(found.own(12, eos=None), texts)
    assert len(seen) == 12 and all(out.shape[1] == 1 for out in seen)
    if found.name in SEQ2SEQ:
        whole = model(**found.asked, target=texts[:, :-1])
    else:
        mask = torch.cat((found.asked["mask"], torch.ones(3, 11, dtype=torch.bool)), 1)
        whole = model(texts[:, :-1], mask)
    close(found, torch.cat(seen, 1), whole[:, found.start - 1 :])


def test_rows_do_not_know_each_other(found: Pair) -> None:
    """Rows of a batch, padded, are what they are alone and without padding; with beams, too."""
    for options in ({}, {"num_beams": 3}, {"repetition_penalty": 1.5}):
        together = found.own(12, eos=None, **options)[:, -12:]
        for row in range(3):
            asked = {name: value[row : row + 1] for name, value in found.asked.items()}
            for name, of in (("mask", "tokens"), ("source_mask", "source")):
                if name in asked:
                    asked[of] = asked[of][asked.pop(name)][None]
            alone = runtime.generate(found.ours, **asked, max_new_tokens=12, eos=None, **options)
            assert torch.equal(alone[0, -12:], together[row]), (row, options)


def test_a_cache_is_as_large_as_needed(found: Pair) -> None:
    """No position is kept for the last token, which is never read."""
    sizes: list[int] = []
    model: Any = found.ours
    make = model.new_cache

    def counted(batch: int, capacity: int) -> Any:
        sizes.append(capacity)
        return make(batch, capacity)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "new_cache", counted)
        found.own(5)
    assert sizes == [found.start + 4]


def test_every_tensor_of_a_cache_is_known(found: Pair) -> None:
    """Forking and reordering follow the program; the module's dict must hold nothing else."""
    model: Any = found.ours

    def lists(node: Any) -> int:
        if isinstance(node, dict):
            return sum(1 if _is_leaf(v) else lists(v) for k, v in node.items() if k != "past")
        return sum(map(lists, node))

    cache = model.new_cache(2, 7)
    known = entries(cache, program_of(model))
    assert len(known) == lists(cache) == len({(id(e.holder), e.key) for e in known})
    for entry in known:
        assert [t.shape[2] for t in entry.so_far(3)] == ([] if entry.once else [3, 3])


def _is_leaf(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(t, Tensor) for t in value))


def test_beams_move_only_what_they_must(tmp_path: Path) -> None:
    """Rows that change parents are copied as far as they are filled; what the encoder gave is not touched."""
    found = pair("t5", 1, tmp_path, {})
    interface = interface_of(found.ours)
    asked = prompt(interface, torch.device("cpu"), None, None, *found.asked.values())
    decoder = Decoder(found.ours, interface, asked, 6, beams=2)
    with torch.no_grad():
        decoder(asked.tokens)
        decoder.spread()
        decoder(torch.arange(12).view(6, 2) + 3)
    cache: Any = decoder._cache
    kept = entries(cache, program_of(found.ours))
    before = [[t.clone() for t in entry.holder[entry.key]] for entry in kept]
    places = [[t.data_ptr() for t in entry.holder[entry.key]] for entry in kept]
    decoder.reorder([1, 1, 2, 3, 5, 4])
    for entry, old, place in zip(kept, before, places, strict=True):
        assert [t.data_ptr() for t in entry.holder[entry.key]] == place
        for new, was in zip(entry.holder[entry.key], old, strict=True):
            if entry.once:
                assert torch.equal(new, was)
            else:
                assert torch.equal(new[:, :, :2], was[[1, 1, 2, 3, 5, 4], :, :2])
                assert not torch.equal(new[:, :, :2], was[:, :, :2])


UNCACHED = """
spec: bare
task: text-generation
params: {vocab: 31, context: 20, dim: 16}
dims: {T: {max: =context}}
inputs: {tokens: "int[B, T]", mask: "bool[B, T]?"}
nodes:
  embed:   {op: embedding, in: tokens, num: =vocab, dim: =dim}
  attn:    {use: attention, in: {x: embed, mask: mask}, with: {heads: 2, causal: true}}
  sum:     {op: add, in: [embed, attn]}
  lm_head: {op: linear, out: =vocab}
outputs: {logits: lm_head}
io: {start: 1, eos: null}
"""


@pytest.mark.parametrize("beams", [1, 3])
def test_a_model_without_a_cache_generates(beams: int, tmp_path: Path) -> None:
    """The same as with one: that spec says `cached: true`, and its mask spans what the cache holds."""
    bare, kept = tmp_path / "bare.yaml", tmp_path / "kept.yaml"
    bare.write_text(UNCACHED)
    kept.write_text(
        UNCACHED.replace("causal: true", "causal: true, cached: true")
        .replace("B, T]?", "B, K]?")
        .replace("{T: {", "{K: {")
    )
    models: list[nn.Module] = []
    for path in (bare, kept):
        torch.manual_seed(0)
        models.append(compiler.build(path, dtype=torch.float64).eval())
        for parameter in models[-1].parameters():
            parameter.data.normal_()
    assert not hasattr(models[0], "new_cache") and hasattr(models[1], "new_cache")
    tokens = torch.randint(0, 31, (2, 5))
    mask = torch.tensor([[False, False, True, True, True], [True] * 5])
    texts = [runtime.generate(m, tokens, mask=mask, max_new_tokens=9, num_beams=beams) for m in models]
    assert torch.equal(texts[0], texts[1]) and len(set(texts[0][0].tolist())) > 3


def test_the_whole_context_is_used(found: Pair) -> None:
    """As many tokens as fit, and not one more; a model without a bound goes on."""
    new = CONTEXT - found.start + 1
    assert found.own(new, eos=None).shape[1] == CONTEXT + 1
