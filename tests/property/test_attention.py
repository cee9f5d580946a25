"""attention against the softmax written out, and rotate against complex numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from compiler.backend.build import build
from tests.property.one_node import Case, compiled, cost, outputs

SIZES = st.integers(1, 4)
Tensors = dict[str, torch.Tensor]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def formula(t: Tensors, scale: float, visible: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T * scale + bias) v over visible keys, a query that sees none giving zeros."""
    shares = t["q"].shape[1] // t["k"].shape[1]
    k, v = (t[n].repeat_interleave(shares, 1) for n in "kv")
    scores = torch.einsum("bhtd,bhkd->bhtk", t["q"], k) * scale + t.get(
        "bias", torch.zeros((), dtype=torch.float64)
    )
    weights = torch.where(visible, (scores - scores.amax(-1, keepdim=True)).exp(), 0)
    total = weights.sum(-1, keepdim=True)
    return torch.einsum("bhtk,bhke->bhte", weights / torch.where(total == 0, 1, total), v)


def seen(shape: tuple[int, ...], causal: bool, window: int | None, mask: torch.Tensor | None) -> torch.Tensor:
    """Which of the scores [B, heads, T, K] count."""
    visible = torch.ones(shape, dtype=torch.bool)
    row, column = torch.meshgrid(torch.arange(shape[2]), torch.arange(shape[3]), indexing="ij")
    if causal:
        visible &= column <= row
    if window is not None:
        visible &= row - column < window
    if mask is not None:
        visible &= mask[:, None, None] if mask.ndim == 2 else mask
    return visible


@st.composite
def declarations(draw: st.DrawFn) -> tuple[Case, Tensors, float, torch.Tensor]:
    batch, groups, shares, length, width, out = (draw(SIZES) for _ in range(6))
    heads, causal = groups * shares, draw(st.booleans())
    keys = length if causal else draw(SIZES)
    window = draw(st.none() | st.integers(1, 3)) if causal else None
    scale = draw(st.none() | st.sampled_from([0.3, 2.0]))
    tensors = {"q": normal(1, batch, heads, length, width), "k": normal(2, batch, groups, keys, width)}
    tensors["v"] = normal(3, batch, groups, keys, out)
    length_name, keys_name = ("T", "T") if causal else ("T", "S")
    inputs = {
        "q": f"float[B, {heads}, {length_name}, {width}]",
        "k": f"float[B, {groups}, {keys_name}, {width}]",
        "v": f"float[B, {groups}, {keys_name}, {out}]",
    }
    form = draw(st.sampled_from(["none", "keys", "keys"] if causal else ["none", "keys", "scores"]))
    mask_shape = {
        "keys": (batch, keys),
        "scores": (batch, draw(st.sampled_from([1, heads])), length, keys),
    }.get(form)
    if mask_shape is not None:
        tensors["mask"] = normal(4 + draw(st.integers(0, 3)), *mask_shape) > 0
        inputs["mask"] = f"bool[B, {keys_name}]" if form == "keys" else f"bool[B, {mask_shape[1]}, T, S]"
    if draw(st.booleans()):
        shape = draw(st.tuples(*(st.sampled_from([1, n]) for n in (batch, heads, length))))
        tensors["bias"] = normal(9, *shape, keys)
        names = [n if s > 1 else "1" for n, s in zip(("B", str(heads), "T"), shape, strict=True)]
        inputs["bias"] = f"float[{', '.join(names)}, {keys_name}]"
    wires = ", ".join(f"{n}: {n}" for n in tensors)
    options = f", causal: {str(causal).lower()}" + (f", scale: {scale}" if scale else "")
    options += f", window: {window}" if window else ""
    kept = "y: y"
    if causal:  # what counts the queries
        inputs["tokens"], tensors["tokens"], kept = (
            "int[B, T]",
            torch.zeros(batch, length, dtype=torch.int64),
            "y: y, t: tokens",
        )
    visible = seen((batch, heads, length, keys), causal, window, tensors.get("mask"))
    return (
        Case(f"op: attention, in: {{{wires}}}{options}", inputs, outputs=kept),
        tensors,
        scale or width**-0.5,
        visible,
    )


@given(declarations())
def test_attention(declared: tuple[Case, Tensors, float, torch.Tensor]) -> None:
    """Grouped heads, T != K, causal, windows, masks of both forms, biases: values,
    zero rows and gradients.
    """
    case, tensors, scale, visible = declared
    program = compiled(case)
    for name in ("q", "k", "v"):
        tensors[name].requires_grad_()
    found = outputs(program, build(program, dtype=torch.float64), **tensors)["y"]
    torch.testing.assert_close(found, formula(tensors, scale, visible))
    assert (found[~visible.any(-1)] == 0).all()
    grads = torch.autograd.grad(found.square().sum(), [tensors[n] for n in "qkv"])
    wanted = torch.autograd.grad(formula(tensors, scale, visible).square().sum(), [tensors[n] for n in "qkv"])
    for grad, expected in zip(grads, wanted, strict=True):
        assert grad.isfinite().all()
        torch.testing.assert_close(grad, expected)


@given(SIZES, SIZES, SIZES, SIZES, SIZES, SIZES)
def test_attention_cost(batch: int, groups: int, length: int, keys: int, width: int, out: int) -> None:
    """The two products as torch counts them (a multiply-add is two), and 5 for the softmax of a score."""
    heads = 2 * groups
    tensors = {"q": normal(1, batch, heads, length, width), "k": normal(2, batch, groups, keys, width)}
    tensors["v"] = normal(3, batch, groups, keys, out)
    inputs = {
        "q": f"float[B, {heads}, T, {width}]",
        "k": f"float[B, {groups}, S, {width}]",
        "v": f"float[B, {groups}, S, {out}]",
    }
    program = compiled(Case("op: attention, in: {q: q, k: k, v: v}", inputs))
    module = build(program, dtype=torch.float64)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(**tensors)
    assert cost(program, tensors) == counter.get_total_flops() + 5 * batch * heads * length * keys


@pytest.mark.parametrize("style", ["half", "interleaved"])
@given(st.data())
def test_rotate(style: str, data: st.DataObject) -> None:
    """Each pair of numbers, as a complex number, times e^(i angle)."""
    batch, heads, length, pairs = (data.draw(SIZES) for _ in range(4))
    x, angle = normal(1, batch, heads, length, 2 * pairs), normal(2, batch, length, pairs) * 3
    inputs = {"x": f"float[B, {heads}, T, {2 * pairs}]", "angle": f"float[B, T, {pairs}]"}
    program = compiled(Case(f"op: rotate, in: [x, angle], style: {style}", inputs))
    found = outputs(program, build(program, dtype=torch.float64), x=x, angle=angle)["y"]
    left, right = (x[..., :pairs], x[..., pairs:]) if style == "half" else (x[..., 0::2], x[..., 1::2])
    turned = torch.complex(left, right) * torch.exp(1j * angle[:, None])
    parts = (turned.real, turned.imag)
    expected = torch.cat(parts, -1) if style == "half" else torch.stack(parts, -1).reshape(x.shape)
    torch.testing.assert_close(found, expected)
    assert cost(program, {"x": x, "angle": angle}) == 6 * math.prod(x.shape)
