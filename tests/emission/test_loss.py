"""The pass `loss`: the same loss and gradients as the plain text, for every spec that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import compiler
from compiler import CompileError
from compiler.backend.library import linear_cross_entropy
from tests.emission.models import CASES, Case, built, name, tensors

#: Specs whose loss is a cross-entropy of a linear map's output.
FOR = {
    *("bert_classifier", "bert_tagger", "char_gpt", "convnext", "deberta_v3_classifier", "dinov2_classifier"),
    *("gpt2", "gpt_neox", "llama", "mistral", "mixtral", "mlm", "qwen2", "qwen3", "simple_vit", "t5"),
    *("transformer", "translation", "vit", "vit_gap", "whisper"),
}
GPT2 = {"vocab": 61, "context": 300, "dim": 24, "depth": 2, "heads": 3, "dropout": 0.0}


def _chunked(case: Case, plain: nn.Module) -> nn.Module:
    """The module with the pass, and the tensors of a plain one: they have the same names."""
    model = compiler.build(case.source, set=case.set, optimize=("loss",), dtype=torch.float64).eval()
    model.load_state_dict(plain.state_dict())
    return model


def _assert_equal_gradients(plain: nn.Module, chunked: nn.Module, bound: float) -> None:
    expected = {key: p.grad for key, p in plain.named_parameters() if p.grad is not None}
    found = {key: p.grad for key, p in chunked.named_parameters() if p.grad is not None}
    assert expected and found.keys() == expected.keys()
    for key, gradient in expected.items():
        assert (found[key] - gradient).abs().max().item() <= bound * max(1.0, gradient.abs().max().item()), (
            key
        )


@pytest.mark.parametrize("case", [c for c in CASES if c.spec in FOR], ids=name)
def test_loss_and_gradients_are_those_of_the_plain_text(case: Case) -> None:
    plain = built(case, dtype=torch.float64)
    chunked = _chunked(case, plain)
    inputs = case.inputs(3, 7, masked=True)
    inputs = {n: t.double() if t.is_floating_point() else t for n, t in inputs.items() if n != "labels"}
    logits, same = plain(**inputs), chunked(**inputs)
    assert logits.shape == same.shape and (logits - same).abs().max() <= 1e-10
    labels = torch.randint(0, logits.shape[-1], logits.shape[:-1])
    labels[1] = -100
    expected, loss = plain(**inputs, labels=labels).loss, chunked(**inputs, labels=labels)
    assert loss.shape == () and abs(loss.item() - expected.item()) <= 1e-10
    (3 * expected).backward()
    (3 * loss).backward()
    _assert_equal_gradients(plain, chunked, 1e-10)


@torch.no_grad()
@pytest.mark.parametrize("case", [c for c in CASES if c.spec in FOR and c.methods], ids=name)
def test_the_methods_are_those_of_the_plain_text(case: Case) -> None:
    plain = built(case, dtype=torch.float64)
    chunked = _chunked(case, plain)
    for method in case.methods:
        inputs = case.inputs(3, 7, masked=True, method=method)
        inputs = {n: t.double() if t.is_floating_point() else t for n, t in inputs.items()}
        expected, found = (tensors(getattr(m, method)(**inputs)) for m in (plain, chunked))
        assert all((found[key] - tensor).abs().max() <= 1e-10 for key, tensor in expected.items())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_many_chunks_of_which_one_counts_nothing(dtype: torch.dtype, bound: float, bias: bool) -> None:
    """3 x 267 positions are four chunks; those of the second are all ignored, by a class that exists."""
    torch.manual_seed(0)
    x, weight = torch.randn(3, 267, 19, dtype=dtype), torch.randn(83, 19, dtype=dtype)
    added = torch.randn(83, dtype=dtype) if bias else None
    labels = torch.randint(0, 83, (3, 267))
    labels.view(-1)[250:520] = 7
    given = [t.requires_grad_() for t in (x, weight, added) if t is not None]
    plain = F.cross_entropy(F.linear(x, weight, added).flatten(0, 1), labels.flatten(), ignore_index=7)
    found = linear_cross_entropy(x, labels, weight, added, ignore=7)  # type: ignore[no-untyped-call]
    assert abs(found.item() - plain.item()) <= bound
    expected, gradients = torch.autograd.grad(plain, given), torch.autograd.grad(found, given)
    for one, other in zip(expected, gradients, strict=True):
        assert (one - other).abs().max() <= bound


def _gpt2() -> tuple[nn.Module, nn.Module, Tensor]:
    """A model, the same with the pass, and tokens of more than one chunk."""
    torch.manual_seed(0)
    plain = compiler.build("gpt2", set=GPT2).train()
    chunked = compiler.build("gpt2", set=GPT2, optimize=("loss",)).train()
    chunked.load_state_dict(plain.state_dict())
    return plain, chunked, torch.randint(0, 61, (3, 300))


def test_under_autocast_the_scores_are_in_the_weights_type() -> None:
    """Half the matrix products in bfloat16, as in the plain text; the scores and the loss in float32."""
    plain, chunked, tokens = _gpt2()
    with torch.autocast("cpu", torch.bfloat16):
        hidden: list[Tensor] = []
        norm = chunked.get_submodule("ln_f")
        with norm.register_forward_hook(lambda m, i, output: hidden.append(output)):
            loss = chunked(tokens, labels=tokens)
        expected = plain(tokens, labels=tokens).loss
    target = F.pad(tokens, (-1, 1), value=-100).flatten()
    scores = F.linear(hidden[0].float(), chunked.get_parameter("wte.weight"))
    exact = F.cross_entropy(scores.flatten(0, 1), target)
    assert loss.dtype == torch.float32 and abs(loss.item() - exact.item()) <= 1e-5
    assert abs(loss.item() - expected.item()) <= 2**-8 * expected.item()
    loss.backward()
    expected.backward()
    theirs, ours = ({key: p.grad for key, p in m.named_parameters()} for m in (plain, chunked))
    whole = torch.nn.utils.get_total_norm([g for g in theirs.values() if g is not None])
    for key, gradient in theirs.items():
        found = ours[key]
        assert gradient is not None and found is not None
        assert (found - gradient).norm() <= 2**-6 * gradient.norm() + 1e-6 * whole, key


def test_it_compiles(recwarn: pytest.WarningsRecorder) -> None:
    plain, chunked, tokens = _gpt2()
    compiled = torch.compile(chunked, fullgraph=True, backend="aot_eager")
    loss = compiled(tokens, labels=tokens)
    expected = plain(tokens, labels=tokens).loss
    assert abs(loss.item() - expected.item()) <= 1e-5
    loss.backward()
    expected.backward()
    _assert_equal_gradients(plain, chunked, 1e-5)
    assert not [w for w in recwarn if "linear_cross_entropy" in str(w.message)]


def test_a_frozen_head_gets_no_gradient() -> None:
    _, chunked, tokens = _gpt2()
    chunked.get_parameter("wte.weight").requires_grad_(False)
    chunked(tokens, labels=tokens).backward()
    assert chunked.get_parameter("wte.weight").grad is None
    assert chunked.get_parameter("ln_f.weight").grad is not None


def test_fused_and_chunked_together() -> None:
    both = compiler.compile("gpt2", optimize=("fuse", "loss"))
    fused = compiler.compile("gpt2", optimize=("fuse",))
    assert both.joins == fused.joins and both.stored == fused.stored and both.table == fused.table
    plain = compiler.compile("llama:3.2-1b", optimize=("loss",))
    assert plain.table == compiler.compile("llama:3.2-1b").table


def _own(tmp_path: Path, loss: str, head: str = "{op: linear, in: x, out: 9}") -> str:
    """A spec of one's own, with the pass."""
    path = tmp_path / "own.yaml"
    path.write_text(
        "spec: own\ninputs: {x: 'float[B, 6]', labels: 'int[B]'}\n"
        f"nodes:\n  head: {head}\n  other: {{op: cross_entropy, in: [head, labels]}}\n  loss: {loss}\n"
        "outputs: {logits: head, other: other, loss: loss}\n",
        encoding="utf-8",
    )
    return compiler.emit(path, optimize=("loss",))


def test_where_labels_are_always_given_nothing_but_the_loss_is_returned(tmp_path: Path) -> None:
    text = _own(tmp_path, "{op: cross_entropy, in: [head, labels], ignore: 3}")
    assert "return linear_cross_entropy(x, labels, self.head.weight, self.head.bias, ignore=3)" in text
    assert "NamedTuple" not in text


@pytest.mark.parametrize(
    ("loss", "head", "reason"),
    [
        ("{op: cross_entropy, in: [head, labels], smoothing: 0.1}", "{op: linear, in: x, out: 9}", "smooths"),
        ("{op: cross_entropy, in: [head, labels]}", "{op: activation, in: x, fn: relu}", "is no `linear`"),
        (
            "{op: add, in: [other, other]}",
            "{op: linear, in: x, out: 9}",
            "`loss` is no `cross_entropy`",
        ),
    ],
)
def test_a_loss_that_is_another_is_refused(tmp_path: Path, loss: str, head: str, reason: str) -> None:
    with pytest.raises(CompileError, match=reason):
        _own(tmp_path, loss, head)


def test_a_spec_without_a_loss_is_refused() -> None:
    with pytest.raises(CompileError, match="has no output `loss`"):
        compiler.compile("bert", optimize=("loss",))
