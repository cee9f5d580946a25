"""conv_transpose, group_norm and interpolate."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from compiler.backend.build import build
from tests.property.one_node import Case, compiled, cost, outputs
from tests.property.test_linear import filled, normal

SIZES = st.integers(1, 4)


@given(st.data())
def test_conv_transpose(data: st.DataObject) -> None:
    rank, kernel, stride = (
        data.draw(st.integers(1, 3)),
        data.draw(st.integers(1, 3)),
        data.draw(st.integers(1, 3)),
    )
    padding, bias = data.draw(st.integers(0, 1)), data.draw(st.booleans())
    batch, channels, out = (data.draw(SIZES) for _ in range(3))
    sizes = [data.draw(SIZES) for _ in range(rank)]
    assume(all((s - 1) * stride + kernel > 2 * padding for s in sizes))
    lengths = [f"L{k}" if data.draw(st.booleans()) else str(s) for k, s in enumerate(sizes)]
    attrs = f"out: {out}, kernel: {kernel}, stride: {stride}, padding: {padding}, bias: {str(bias).lower()}"
    program = compiled(
        Case(f"op: conv_transpose, in: x, {attrs}", {"x": f"float[B, {channels}, {', '.join(lengths)}]"})
    )
    module = build(program, dtype=torch.float64)
    weights, x = filled(module), normal(batch, channels, *sizes)
    transpose = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
    expected = transpose(x, weights["weight"], weights.get("bias"), stride, padding)
    torch.testing.assert_close(outputs(program, module, x=x)["y"], expected)
    with FlopCounterMode(display=False) as counter:
        module(x)
    assert cost(program, {"x": x}) == counter.get_total_flops()


@given(st.data())
def test_group_norm(data: st.DataObject) -> None:
    groups, affine, eps = (
        data.draw(st.integers(1, 3)),
        data.draw(st.booleans()),
        data.draw(st.sampled_from([1e-5, 0.5])),
    )
    shape = [
        data.draw(SIZES),
        groups * data.draw(st.integers(1, 2)),
        *data.draw(st.lists(SIZES, min_size=1, max_size=3)),
    ]
    assume(shape[1] // groups * shape[2] > 1)
    free = ", ".join(f"L{k}" for k in range(len(shape) - 2))
    node = f"op: group_norm, in: x, groups: {groups}, affine: {str(affine).lower()}, eps: {eps}"
    program = compiled(Case(node, {"x": f"float[B, {shape[1]}, {free}]"}))
    module = build(program, dtype=torch.float64)
    weights, x = filled(module), normal(*shape) * 3 + 1
    grouped = x.reshape(shape[0], groups, -1)
    centred = grouped - grouped.mean(-1, keepdim=True)
    expected = (centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()).reshape(shape)
    if affine:
        over = [shape[1], *[1] * (len(shape) - 2)]
        expected = expected * weights["weight"].reshape(over) + weights["bias"].reshape(over)
    torch.testing.assert_close(outputs(program, module, x=x)["y"], expected)
    assert cost(program, {"x": x}) == 8 * x.numel()


@given(st.data())
def test_interpolate(data: st.DataObject) -> None:
    """One axis by hand, linear between the centres of the entries; every mode as torch names it."""
    length, target = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    x = normal(2, 3, length)
    program = compiled(
        Case(f"op: interpolate, in: x, size: [{target}], mode: linear", {"x": "float[B, 3, L]"})
    )
    places = [min(max((k + 0.5) * length / target - 0.5, 0), length - 1) for k in range(target)]
    left = torch.tensor([int(p) for p in places])
    part = torch.tensor([p - int(p) for p in places], dtype=torch.float64)
    expected = x[..., left] * (1 - part) + x[..., (left + 1).clamp(max=length - 1)] * part
    torch.testing.assert_close(outputs(program, build(program), x=x)["y"], expected)
    mode, antialias = data.draw(st.sampled_from([("nearest", False), ("bilinear", False), ("bicubic", True)]))
    image, size = normal(2, 3, length, 4), (target, 5)
    node = f"op: interpolate, in: x, size: {list(size)}, mode: {mode}, antialias: {str(antialias).lower()}"
    program = compiled(Case(node, {"x": "float[B, 3, L, 4]"}))
    expected = F.interpolate(image, size, mode=mode, antialias=antialias)
    torch.testing.assert_close(outputs(program, build(program), x=image)["y"], expected)
