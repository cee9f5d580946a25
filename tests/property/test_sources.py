"""parameter and iota; constants keep the dtype that they have, whatever the module is built or cast to."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import compiler
from compiler.backend.build import build
from tests.property.one_node import Case, compiled, outputs, run

SIZES = st.integers(1, 4)
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@given(st.lists(SIZES, max_size=3), st.booleans(), st.sampled_from(["float", "float32"]))
def test_parameter(shape: list[int], trainable: bool, dtype: str) -> None:
    options = f"trainable: {str(trainable).lower()}, dtype: {dtype}, init: {{constant: 2.5}}"
    node = f"op: parameter, shape: {shape}, {options}"
    program = compiled(Case(node, {"x": "float[B]"}, outputs="y: y, x: x"))
    module = build(program, dtype=torch.float64)
    found = outputs(program, module, x=torch.ones(2, dtype=torch.float64))["y"]
    assert (found == 2.5).all() and found.requires_grad == trainable
    assert [p.dtype for p in module.parameters()] == [torch.float64 if dtype == "float" else torch.float32]


@given(SIZES, SIZES, st.integers(-3, 3), st.sampled_from(["=T", "=2 * T + 1", "=p", "=T * p", "3"]))
def test_iota(t: int, p: int, start: int, size: str) -> None:
    """Fixed and free sizes, products and sums of them, any start."""
    params = f"p: {p}" if "p" in size else ""
    case = Case(
        f'op: iota, size: "{size}", start: {start}', {"x": "int[B, T]"}, params=params, outputs="y: y, x: x"
    )
    if size == "3":
        case = Case(f"op: iota, size: 3, start: {start}", {"x": "int[B, T]"}, outputs="y: y, x: x")
    count = {"=T": t, "=2 * T + 1": 2 * t + 1, "=p": p, "=T * p": t * p, "3": 3}[size]
    found = run(case, x=torch.zeros(2, t, dtype=torch.int64))["y"]
    assert found.tolist() == [start + k for k in range(count)]


CONSTANTS = Case(
    "op: mul, in: [x, scale]", {"x": "float[B, 4]"},
    before="""  n: {op: iota, size: 4, start: 1001}
  third: {op: map, in: {n: n}, expr: =n / 3}
  w: {op: parameter, shape: [4], dtype: float32, init: {constant: 0.1}}
  scale: {op: cast, in: {x: third, like: x}}
""",
    outputs="y: y, n: n, third: third, w: w",
)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("late", [False, True], ids=["built", "cast"])
def test_constants_keep_their_dtype(dtype: torch.dtype, late: bool) -> None:
    """Whole numbers stay exact and float32 stays float32;
    only a cast `like` a value of the module follows the module.
    """
    module = build(compiled(CONSTANTS), dtype=None if late else dtype)
    if late:
        module.to(dtype)
    x = torch.full((2, 4), 2, dtype=dtype)
    y, n, third, w = module(x)
    assert n.dtype == torch.int64 and n.tolist() == [1001, 1002, 1003, 1004]
    assert third.dtype == torch.float32 and torch.equal(third, torch.arange(1001, 1005).float() / 3)
    assert y.dtype == dtype and torch.equal(y, 2 * third.to(dtype).expand(2, 4))
    if not late:  # `.to` is torch's own and casts every parameter
        assert w.dtype == torch.float32 and torch.equal(w, torch.full((4,), 0.1))


TABLE = """blocks:
  table:
    params: {n: 4}
    nodes:
      p: {op: parameter, shape: [=n], init: {constant: 2}}
      i: {op: iota, size: =n}
      m: {op: map, in: {i: i, p: p}, expr: =i * p}
    outputs: {y: m}
"""


def test_a_block_without_inputs_takes_the_device_of_its_parameter() -> None:
    case = Case("op: add, in: [x, t]", {"x": "float[B, 4]"}, before="  t: {use: table}\n", blocks=TABLE)
    found = run(case, x=torch.zeros(1, 4, dtype=torch.float64))["y"]
    assert found.tolist() == [[0, 2, 4, 6]]


def test_a_module_without_tensors_cannot_know_a_device() -> None:
    with pytest.raises(compiler.CompileError, match="to know the device by"):
        compiled(Case("op: iota, size: 4", {}))
