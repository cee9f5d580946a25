"""What a call of generate or stream promises beside its tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import compiler
import runtime
from compiler.diagnostics.diagnostic import CompileError

GPT2 = {"vocab": 40, "context": 16, "dim": 24, "depth": 2, "heads": 3, "io.start": 1, "io.eos": 2}
T5 = {"vocab": 40, "dim": 24, "depth": 2, "heads": 3, "head_dim": 8, "hidden": 30}
WHISPER = {"vocab": 40, "mels": 5, "source_context": 6, "context": 9, "dim": 24, "depth": 1, "heads": 3} | {
    "start": 3,
    "pad": 4,
}


def model(spec: str, settings: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    found = compiler.build(spec, set=settings)
    for parameter in found.parameters():
        parameter.data.normal_(std=0.5)
    return found.eval()


@pytest.fixture(scope="module")
def gpt2() -> nn.Module:
    return model("gpt2", GPT2)


@pytest.fixture(scope="module")
def t5() -> nn.Module:
    return model("t5", T5)


@pytest.fixture
def tokens() -> Tensor:
    return torch.tensor([[5, 6, 7], [8, 9, 10]])


CALLS: list[dict[str, Any]] = [
    {},
    {"temperature": 1.0, "seed": 3},
    {"temperature": 1.3, "top_k": 9, "seed": 4, "eos": list(range(12))},
    {"repetition_penalty": 1.4, "eos": None},
]


@pytest.mark.parametrize("asked", CALLS, ids=str)
def test_stream_is_generate(gpt2: nn.Module, tokens: Tensor, asked: dict[str, Any]) -> None:
    whole = runtime.generate(gpt2, tokens, max_new_tokens=9, **asked)
    steps = list(runtime.stream(gpt2, tokens, max_new_tokens=9, **asked))
    assert torch.equal(torch.stack(steps, 1), whole[:, 3:])
    assert torch.equal(whole[:, :3], tokens)


def test_a_stream_computes_as_it_is_read(gpt2: nn.Module, tokens: Tensor) -> None:
    calls: list[int] = []
    hook = gpt2.register_forward_hook(lambda _m, _a, _o: calls.append(1))
    steps = runtime.stream(gpt2, tokens, max_new_tokens=9, eos=None)
    assert calls == []
    next(steps)
    next(steps)
    hook.remove()
    assert len(calls) == 2


def test_a_stream_leaves_the_caller_alone(gpt2: nn.Module, tokens: Tensor) -> None:
    """Between two tokens gradients flow, the model is in the caller's mode, and tokens are plain tensors."""
    gpt2.train()
    try:
        for token in runtime.stream(gpt2, tokens, max_new_tokens=3, eos=None):
            assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
            assert all(module.training for module in gpt2.modules())
            token += 1
            assert gpt2(tokens).requires_grad
    finally:
        gpt2.eval()


def test_a_stream_encodes_without_dropout_and_gradients(t5: nn.Module) -> None:
    source = torch.ones(1, 5, dtype=torch.int64)
    wanted = runtime.generate(t5, source=source, max_new_tokens=9, eos=None)
    kept: list[Tensor] = []
    model: Any = t5
    encode = model.encode

    def heard(**given: Any) -> Tensor:
        kept.append(encode(**given))
        return kept[-1]

    t5.train()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "encode", heard)
        found = list(runtime.stream(t5, source=source, max_new_tokens=9, eos=None))
    assert t5.training
    t5.eval()
    assert torch.equal(torch.stack(found, 1), wanted[:, 1:])
    assert len(kept) == 1 and kept[0].is_inference()


def test_a_stream_takes_the_mode_that_is(gpt2: nn.Module, tokens: Tensor) -> None:
    """A model that is put into eval mode between two tokens stays there."""
    gpt2.train()
    steps = runtime.stream(gpt2, tokens, max_new_tokens=3, eos=None)
    next(steps)
    gpt2.eval()
    next(steps)
    assert not any(module.training for module in gpt2.modules())


def test_generate_is_not_training(gpt2: nn.Module, tokens: Tensor) -> None:
    """Dropout is off, and each module's mode is what it was."""
    wanted = runtime.generate(gpt2, tokens, max_new_tokens=9, eos=None)
    gpt2.train()
    frozen = gpt2.get_submodule("h.1").eval()
    found = runtime.generate(gpt2, tokens, max_new_tokens=9, eos=None)
    modes = {name: module.training for name, module in gpt2.named_modules()}
    gpt2.eval()
    assert torch.equal(found, wanted) and not found.is_inference()
    assert modes == {name: not (name + ".").startswith("h.1.") for name, _ in gpt2.named_modules()}
    assert not frozen.training


def test_an_error_restores_the_mode(gpt2: nn.Module, tokens: Tensor) -> None:
    gpt2.train()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpt2, "forward", lambda *_a, **_k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runtime.generate(gpt2, tokens, max_new_tokens=9)
    assert all(module.training for module in gpt2.modules())
    gpt2.eval()


def test_seeds(gpt2: nn.Module, tokens: Tensor) -> None:
    """Equal seeds give equal texts, others others; the global state is neither read nor changed."""

    def drawn(seed: int | None) -> Tensor:
        return runtime.generate(gpt2, tokens, max_new_tokens=12, temperature=3.0, eos=None, seed=seed)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = drawn(7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(drawn(7), first)
    assert not torch.equal(drawn(8), first)
    assert not torch.equal(drawn(None), drawn(None))


def test_draws_are_of_the_models_distribution(gpt2: nn.Module) -> None:
    """The first token of many equal rows, against the softmax of the model's own logits."""
    rows = 20_000
    tokens = torch.tensor([[5, 6, 7]]).expand(rows, 3)
    drawn = runtime.generate(gpt2, tokens, max_new_tokens=1, temperature=2.0, seed=1)[:, -1]
    with torch.no_grad():
        wanted = (gpt2(tokens[:1])[0, -1] / 2).double().softmax(-1) * rows
    counts = torch.bincount(drawn, minlength=40).double()
    often = wanted >= 5
    freedom = int(often.sum()) - 1
    statistic = ((counts - wanted)[often] ** 2 / wanted[often]).sum()
    assert freedom > 5 and statistic < freedom + 7 * (2 * freedom) ** 0.5


def test_rows_that_have_ended_are_padded(gpt2: nn.Module, tokens: Tensor) -> None:
    free = runtime.generate(gpt2, tokens, max_new_tokens=9, eos=None)
    eos = int(free[0, 3])
    found = runtime.generate(gpt2, tokens, max_new_tokens=9, eos=eos, pad=39)
    for row, text in enumerate(found[:, 3:].tolist()):
        end = text.index(eos) + 1 if eos in text else len(text)
        assert text[:end] == free[row, 3 : 3 + end].tolist()
        assert set(text[end:]) <= {39}
    assert found[0, 4:].tolist() == [39] * (found.shape[1] - 4)
    assert (
        int(runtime.generate(gpt2, tokens, max_new_tokens=9, eos=eos)[0, -1]) == eos
    )  # without a pad of its own


def test_it_begins_with_the_start_token(gpt2: nn.Module, t5: nn.Module) -> None:
    assert runtime.generate(gpt2, max_new_tokens=4, eos=None)[:, 0].tolist() == [1]
    source = torch.ones(3, 5, dtype=torch.int64)
    assert runtime.generate(t5, source=source, max_new_tokens=4)[:, 0].tolist() == [0, 0, 0]
    prefix = torch.tensor([[0, 9, 8]]).expand(3, 3)
    assert runtime.generate(t5, prefix, source=source, max_new_tokens=4)[:, :3].tolist() == prefix.tolist()


def test_a_start_of_several_tokens(gpt2: nn.Module) -> None:
    longer = model("gpt2", GPT2 | {"io.start": [4, 5]})
    found = runtime.generate(longer, max_new_tokens=4, eos=None)
    assert torch.equal(found, runtime.generate(gpt2, torch.tensor([[4, 5]]), max_new_tokens=4, eos=None))


def test_a_mask_that_hides_nothing_is_none(gpt2: nn.Module, tokens: Tensor) -> None:
    """It costs nothing: the model is asked as without."""
    masks: list[object] = []
    hook = gpt2.register_forward_pre_hook(
        lambda _m, _a, named: masks.append(named.get("mask")), with_kwargs=True
    )
    runtime.generate(gpt2, tokens, mask=torch.ones_like(tokens), max_new_tokens=3, eos=None)
    hook.remove()
    assert masks == [None] * 3


ERRORS: list[tuple[str, dict[str, Any]]] = [
    ("numbers", {"max_new_tokens": 0, "num_beams": 1.5, "temperature": -1, "length_penalty": float("nan")}),
    ("shares", {"temperature": 1.0, "top_k": 0, "top_p": 1.5, "min_p": "x", "repetition_penalty": 0}),
    ("ids", {"eos": [3, "x"], "pad": -2}),
    ("seed", {"seed": -1}),
    ("greedy_filters", {"top_k": 5, "top_p": 0.9}),
    ("beams_draw", {"num_beams": 2, "temperature": 1.0}),
    ("tokens_one_axis", {"tokens": torch.tensor([1, 2])}),
    ("tokens_floats", {"tokens": torch.ones(2, 3)}),
    ("tokens_empty", {"tokens": torch.ones(2, 0, dtype=torch.int64)}),
    ("tokens_outside", {"tokens": torch.tensor([[1, 40]])}),
    ("mask_shape", {"mask": torch.ones(2, 4)}),
    ("mask_right", {"mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}),
    ("too_long", {"tokens": torch.ones(2, 17, dtype=torch.int64)}),
    ("too_many", {"max_new_tokens": 15}),
    ("source", {"source": torch.ones(2, 3, dtype=torch.int64)}),
]
ENCODER_ERRORS: list[tuple[str, dict[str, Any]]] = [
    ("no_source", {"source": None}),
    ("source_kind", {"source": torch.ones(2, 5)}),
    ("source_rows", {"tokens": torch.ones(3, 2, dtype=torch.int64)}),
    (
        "tokens_padded",
        {"tokens": torch.ones(2, 2, dtype=torch.int64), "mask": torch.tensor([[0, 1], [1, 1]])},
    ),
    ("features", {"source": torch.ones(2, 5, 13)}),
]
GOLDEN = Path(__file__).parent / "errors.txt"


def said(found: nn.Module, asked: dict[str, Any]) -> str:
    with pytest.raises(CompileError) as caught:
        runtime.generate(found, **{"max_new_tokens": 4, **asked})
    with pytest.raises(CompileError) as streamed:
        runtime.stream(found, **{"max_new_tokens": 4, **asked})  # at the call, not at its first token
    assert str(streamed.value) == str(caught.value)
    return str(caught.value).strip()


def test_errors(gpt2: nn.Module, t5: nn.Module, tokens: Tensor, bless: bool) -> None:
    """Each in words, before the model runs."""
    source = torch.ones(2, 5, dtype=torch.int64)
    whisper = model("whisper", WHISPER)
    for found in (gpt2, t5, whisper):
        found.register_forward_hook(lambda _m, _a, _o: pytest.fail("the model ran"))
    answers = [(f"gpt2 {name}", said(gpt2, {"tokens": tokens, **asked})) for name, asked in ERRORS]
    answers += [(f"t5 {name}", said(t5, {"source": source, **asked})) for name, asked in ENCODER_ERRORS[:-1]]
    answers += [(f"whisper {name}", said(whisper, asked)) for name, asked in ENCODER_ERRORS[-1:]]
    for name, spec in (("bert_mlm", "bert_mlm"), ("clip", "clip_vitb32"), ("vit", "vit")):
        answers.append((name, said(compiler.build(spec, device="meta"), {"tokens": tokens})))
    answers.append(("no module of ours", said(nn.Linear(2, 2), {"tokens": tokens})))
    char = compiler.build("char_gpt", device="meta")
    answers.append(("no start", said(char, {})))
    text = "".join(f"=== {name}\n{answer}\n\n" for name, answer in answers)
    if bless:
        GOLDEN.write_text(text)
    assert GOLDEN.read_text() == text
    for found in (gpt2, t5):
        found._forward_hooks.clear()


def test_beams_do_not_stream(gpt2: nn.Module, tokens: Tensor) -> None:
    with pytest.raises(CompileError, match="beams do not stream"):
        runtime.stream(gpt2, tokens, max_new_tokens=4, num_beams=2)


def test_settings_outside_the_vocabulary(tokens: Tensor) -> None:
    """What cannot be generated need not be forbidden; it cannot be forced either, which is said at once."""
    found = model(
        "gpt2", GPT2 | {"io.suppress": [40], "io.bad_words": [[41], [5, 40]], "io.begin_suppress": [50]}
    )
    plain = model("gpt2", GPT2)
    texts = [runtime.generate(m, tokens, max_new_tokens=4, eos=None) for m in (found, plain)]
    assert torch.equal(texts[0], texts[1])
    found = model("gpt2", GPT2 | {"io.forced_eos": [3, 40]})
    with pytest.raises(
        CompileError, match=r"`io\.forced_eos` of the spec gpt2 is 40, its vocabulary goes from 0 to 39"
    ):
        runtime.stream(found, tokens, max_new_tokens=4)
