"""One step: what is not finite stops it before the update, and is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

import compiler
from runtime.training.losses import CrossEntropy, Own
from runtime.training.step import NotFinite, Trained, train_step

SIZES: dict[str, Any] = dict(vocab=11, context=8, dim=12, depth=3, heads=2, dropout=0.1)


def trained() -> tuple[Trained, SGD, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = compiler.build("char_gpt", set=SIZES).train()
    inputs = frozenset({"tokens", "labels"})
    own = Own.model_validate({"kind": "own"})
    found = Trained(model, own, inputs, ("logits", "loss"), torch.float32, torch.device("cpu"))
    tokens = torch.randint(11, (2, 8))
    return found, SGD(model.parameters(), lr=0.1, momentum=0.9), {"tokens": tokens, "labels": tokens}


@pytest.mark.parametrize(
    ("parameter", "module"),
    [("h.1.mlp.up.weight", "h.1.mlp.up"), ("h.2.attn.v.bias", "h.2.attn.v"), ("ln_f.weight", "ln_f")],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_module_is_named(parameter: str, module: str, value: float) -> None:
    run, optimizer, batch = trained()
    train_step(run, optimizer, [batch], None)
    run.model.get_parameter(parameter).data.view(-1)[0] = value
    before = {name: t.clone() for name, t in run.model.state_dict().items()}
    with pytest.raises(NotFinite) as caught:
        train_step(run, optimizer, [batch], 1.0)
    assert (caught.value.what, caught.value.module) == ("the loss", f"`{module}`")
    after = run.model.state_dict()
    assert all(
        torch.equal(
            before[name],
            after[name],
        )
        or name == parameter
        for name in before
    )


def test_a_loss_that_is_finite_in_parts_only() -> None:
    run, optimizer, batch = trained()
    bad = {**batch, "tokens": batch["tokens"].flip(0)}
    run.model.get_parameter("wpe.weight").data[7] = float("inf")
    short = {name: value[:, :7] for name, value in batch.items()}
    before = run.model.get_parameter("ln_f.weight").clone()
    with pytest.raises(NotFinite, match="`wpe`"):
        train_step(run, optimizer, [short, bad], None)
    assert torch.equal(run.model.get_parameter("ln_f.weight"), before)


def test_a_gradient_that_is_not_finite() -> None:
    """The loss is finite, its gradient is not: the module in which it first goes wrong on the way back."""

    class Spoiled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return grads[0] * float("inf")

    run, optimizer, batch = trained()
    run.model.get_submodule("h.1.mlp").register_forward_hook(lambda m, i, out: Spoiled.apply(out))
    before = {name: t.clone() for name, t in run.model.state_dict().items()}
    with pytest.raises(NotFinite) as caught:
        train_step(run, optimizer, [batch], None)
    assert (caught.value.what, caught.value.module) == ("the gradient", "`h.1.mlp.down`")
    assert all(torch.equal(before[name], t) for name, t in run.model.state_dict().items())


def test_clipping_is_torch_s() -> None:
    run, optimizer, batch = trained()
    run.model.eval()
    twin, other, _ = trained()
    twin.model.eval()
    loss, norm = train_step(run, optimizer, [batch], 0.5)
    theirs: Any = twin.model(**batch)
    theirs.loss.backward()
    expected = nn.utils.clip_grad_norm_(twin.model.parameters(), 0.5)
    other.step()
    assert (loss, norm) == pytest.approx((float(theirs.loss.detach()), float(expected)), rel=1e-6)
    assert norm > 0.5
    for name, parameter in twin.model.named_parameters():
        torch.testing.assert_close(run.model.get_parameter(name), parameter)


def test_half_precision_runs() -> None:
    run, optimizer, batch = trained()
    run.model.eval()
    half = Trained(run.model, run.loss, run.inputs, run.outputs, torch.bfloat16, run.device)
    whole, outputs = run.run(batch)
    found, rounded = half.run(batch)
    assert rounded["logits"].dtype == torch.bfloat16 and outputs["logits"].dtype == torch.float32
    assert float(found.detach()) == pytest.approx(float(whole.detach()), rel=2e-2)
    train_step(half, optimizer, [batch], None)
    assert all(p.dtype == torch.float32 for p in run.model.parameters())


def test_the_loss_of_half_precision_is_not_rounded() -> None:
    """torch's cross-entropy of the rounded logits, in float32."""
    run, _, batch = trained()
    run.model.eval()
    loss = CrossEntropy.model_validate({"kind": "cross_entropy"})
    found, outputs = Trained(run.model, loss, run.inputs, run.outputs, torch.bfloat16, run.device).run(batch)
    logits = outputs["logits"]
    expected = nn.functional.cross_entropy(logits.float().flatten(0, 1), batch["labels"].flatten())
    assert logits.dtype == torch.bfloat16 and found.dtype == torch.float32
    assert torch.equal(found, expected)
