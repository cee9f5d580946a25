"""linear, conv, einsum, norms and embedding against the formulas; their costs against torch's own count."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from compiler.backend.build import build
from tests.property.one_node import Case, compiled, cost, outputs

SIZES = st.integers(1, 5)


def filled(module: nn.Module) -> dict[str, torch.Tensor]:
    """The module's weights by name, all of them random: an ignored or misplaced one is seen."""
    for k, weight in enumerate(module.parameters()):
        weight.data = torch.randn(
            weight.shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64
        )
    return {name.removeprefix("y").lstrip("."): w for name, w in module.named_parameters()}


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def counted(module: nn.Module, **tensors: torch.Tensor) -> int:
    """Torch's count of floating-point operations: a multiply-add is two."""
    with FlopCounterMode(display=False) as counter:
        module(**tensors)
    return counter.get_total_flops()


def axes(data: st.DataObject, *sizes: int) -> str:
    """A type whose axes are drawn to be numbers or free names."""
    return ", ".join(f"A{k}" if data.draw(st.booleans()) else str(s) for k, s in enumerate(sizes))


@given(st.data())
def test_linear(data: st.DataObject) -> None:
    """x W^T + b in front of any number of axes; out * in multiply-adds for each row."""
    lead = [data.draw(SIZES) for _ in range(data.draw(st.integers(1, 3)))]
    width, out, bias = data.draw(SIZES), data.draw(SIZES), data.draw(st.booleans())
    kind = ", ".join([axes(data, *lead), str(width)])
    program = compiled(
        Case(f"op: linear, in: x, out: {out}, bias: {str(bias).lower()}", {"x": f"float[{kind}]"})
    )
    module = build(program, dtype=torch.float64)
    weights, x = filled(module), normal(*lead, width)
    expected = torch.einsum("...i,oi->...o", x, weights["weight"])
    found = outputs(program, module, x=x)["y"]
    torch.testing.assert_close(found, expected + weights["bias"] if bias else expected)
    assert set(weights) == ({"weight", "bias"} if bias else {"weight"})
    assert cost(program, {"x": x}) == counted(module, x=x)


@given(st.data())
def test_lora_linear(data: st.DataObject) -> None:
    """W x + b, and alpha / rank * B A x beside it; three products as torch counts them."""
    batch, width, out, rank = (data.draw(SIZES) for _ in range(4))
    alpha, bias = data.draw(st.sampled_from([1.0, 6.0])), data.draw(st.booleans())
    node = f"op: lora_linear, in: x, out: {out}, rank: {rank}, alpha: {alpha}, bias: {str(bias).lower()}"
    program = compiled(Case(node, {"x": f"float[B, {width}]"}))
    module = build(program, dtype=torch.float64).eval()
    weights, x = filled(module), normal(batch, width)
    expected = x @ weights["weight"].T + alpha / rank * (x @ weights["lora_a"].T @ weights["lora_b"].T)
    found = outputs(program, module, x=x)["y"]
    torch.testing.assert_close(found, expected + weights["bias"] if bias else expected)
    assert cost(program, {"x": x}) == counted(module, x=x)


@given(st.data())
def test_conv(data: st.DataObject) -> None:
    """One to three axes; kernel, stride and padding as one number or one per axis; groups; free axes."""
    rank, groups = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 1, 2, 3]))
    batch, channels, out = (
        data.draw(SIZES),
        groups * data.draw(st.integers(1, 2)),
        groups * data.draw(st.integers(1, 2)),
    )
    per_axis = st.integers(1, 3) | st.tuples(*[st.integers(1, 3)] * rank)
    kernel, stride = data.draw(per_axis), data.draw(per_axis)
    padding = data.draw(st.integers(0, 2) | st.tuples(*[st.integers(0, 2)] * rank))
    sizes = [data.draw(st.integers(2, 7)) for _ in range(rank)]
    kernels, paddings = (v if isinstance(v, tuple) else (v,) * rank for v in (kernel, padding))
    assume(all(s + 2 * p >= k for s, k, p in zip(sizes, kernels, paddings, strict=True)))
    bias = data.draw(st.booleans())
    attrs = {"kernel": kernel, "stride": stride, "padding": padding}
    text = ", ".join(f"{n}: {list(v) if isinstance(v, tuple) else v}" for n, v in attrs.items())
    node = f"op: conv, in: x, out: {out}, groups: {groups}, bias: {str(bias).lower()}, {text}"
    lengths = [f"L{k}" if data.draw(st.booleans()) else str(s) for k, s in enumerate(sizes)]
    program = compiled(Case(node, {"x": f"float[B, {channels}, {', '.join(lengths)}]"}))
    module = build(program, dtype=torch.float64)
    weights, x = filled(module), normal(batch, channels, *sizes)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    expected = convolve(x, weights["weight"], weights.get("bias"), stride, padding, 1, groups)
    torch.testing.assert_close(outputs(program, module, x=x)["y"], expected)
    per_output = 2 * (channels // groups) * int(torch.tensor(kernels).prod())
    assert cost(program, {"x": x}) == expected.numel() * per_output
    if groups == 1:  # torch's counter leaves groups out of account
        assert cost(program, {"x": x}) == counted(module, x=x)


@given(st.data())
def test_einsum(data: st.DataObject) -> None:
    """One to three inputs over shared names, some longer than a letter; each cell costs a product."""
    names = ["B", "t", "head", "b", "K"]
    sizes = {n: data.draw(st.integers(1, 4)) for n in names}
    subset = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)
    sides = data.draw(st.lists(subset, min_size=1, max_size=3))
    used = sorted({n for side in sides for n in side})
    out = data.draw(st.lists(st.sampled_from(used), max_size=4, unique=True))
    free = data.draw(st.sets(st.sampled_from(names)))
    inputs = {
        f"x{k}": "float[" + ", ".join(n if n in free else str(sizes[n]) for n in s) + "]"
        for k, s in enumerate(sides)
    }
    pattern = f"{', '.join(' '.join(s) for s in sides)} -> {' '.join(out)}"
    program = compiled(Case(f'op: einsum, in: [{", ".join(inputs)}], pattern: "{pattern}"', inputs))
    module = build(program, dtype=torch.float64)
    xs = {f"x{k}": normal(*(sizes[n] for n in side)) + k for k, side in enumerate(sides)}
    operands = [v for k, side in enumerate(sides) for v in (xs[f"x{k}"], [names.index(n) for n in side])]
    expected = torch.einsum(*operands, [names.index(n) for n in out])
    torch.testing.assert_close(outputs(program, module, **xs)["y"], expected)
    cells = 1
    for n in used:
        cells *= sizes[n]
    assert cost(program, xs) == len(sides) * cells


@given(*[st.integers(2, 5)] * 4)  # with an axis of 1 torch multiplies elementwise, which it does not count
def test_einsum_of_a_matrix_product_costs_what_torch_counts(b: int, i: int, j: int, k: int) -> None:
    case = Case(
        'op: einsum, in: [x, w], pattern: "B i k, B k j -> B i j"',
        {"x": f"float[B, i, {k}]", "w": f"float[B, {k}, j]"},
    )
    program = compiled(case)
    tensors = {"x": normal(b, i, k), "w": normal(b, k, j)}
    assert (
        cost(program, tensors) == counted(build(program, dtype=torch.float64), **tensors) == 2 * b * i * j * k
    )


@given(st.data())
def test_norms(data: st.DataObject) -> None:
    """Layer norm with its affine and bias forms, RMS norm; eps large enough to be seen."""
    lead = [data.draw(SIZES) for _ in range(data.draw(st.integers(1, 3)))]
    width, eps = data.draw(st.integers(2, 6)), data.draw(st.sampled_from([1e-6, 1e-5, 0.5]))
    op, affine, bias = (
        data.draw(st.sampled_from(["layer_norm", "rms_norm"])),
        data.draw(st.booleans()),
        data.draw(st.booleans()),
    )
    options = f"eps: {eps}, affine: {str(affine).lower()}" + (
        f", bias: {str(bias).lower()}" if op == "layer_norm" else ""
    )
    kind = ", ".join([axes(data, *lead), str(width)])
    program = compiled(Case(f"op: {op}, in: x, {options}", {"x": f"float[{kind}]"}))
    module = build(program, dtype=torch.float64)
    weights, x = filled(module), normal(*lead, width) * 3 + 1
    centred = x - x.mean(-1, keepdim=True) if op == "layer_norm" else x
    expected = centred / ((centred**2).mean(-1, keepdim=True) + eps) ** 0.5
    expected = expected * weights["weight"] if affine else expected
    expected = expected + weights["bias"] if affine and bias and op == "layer_norm" else expected
    torch.testing.assert_close(outputs(program, module, x=x)["y"], expected)
    assert len(weights) == affine * (1 + (bias and op == "layer_norm"))
    assert cost(program, {"x": x}) == x.numel() * (8 if op == "layer_norm" else 6)


@given(st.data())
def test_embedding(data: st.DataObject) -> None:
    shape = [data.draw(SIZES) for _ in range(data.draw(st.integers(1, 3)))]
    num, dim = data.draw(SIZES), data.draw(SIZES)
    program = compiled(
        Case(f"op: embedding, in: x, num: {num}, dim: {dim}", {"x": f"int[{axes(data, *shape)}]"})
    )
    module = build(program, dtype=torch.float64)
    table = filled(module)["weight"]
    x = torch.randint(num, shape, generator=torch.Generator().manual_seed(num))
    expected = torch.stack([table[i] for i in x.flatten().tolist()]).reshape(*shape, dim)
    assert torch.equal(outputs(program, module, x=x)["y"], expected)
    assert cost(program, {"x": x}) == 0
