"""Any declaration of any op compiles to a module that runs as typed, or is refused with a located report.

Nothing here knows what is valid: attributes, ranks, sizes and dtypes are drawn at random, most of them wrong.
"""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from compiler import CompileError
from compiler.backend.build import build
from compiler.ir.opdef import AttrDecl, OpDef
from compiler.ops.table import OPS
from tests.property.one_node import TORCH, Case, compiled, outputs

SIZES = {"B": 5, "T": 7, "S": 6}  # larger than any k, kernel or bound below
AXES = st.sampled_from(["B", "B", "T", "T", "S", "1", "2", "3", "4", "4", "6"])
TYPED = st.sampled_from(["float", "float", "float", "float", "int", "int", "bool", "float32", "int32"])
NAMES = st.sampled_from(["B", "T", "S", "a", "b", "1", "2", "(a b)", "(a 2)", "[a]", "[T]", "(B T)"])
SIDE = st.lists(NAMES, max_size=4).map(" ".join)
EXPRESSIONS = st.sampled_from(
    ["=x", "=x + 1", "=x / 2", "=-x", "=not x", "=x > 1", "=x if x else 1", "=x * 0.5", "=x // 2", "=sqrt(x)",
     "=int(x)", "=x ** 2", "=min(x, 1)", "=x - T", "=x and x", "=len(x)", "=[x]", "=x[0]", "=1", "=z", "=x +",
     "x", "=clamp(x, 0, T)", "=ceil_to(x, 4)", "=x == true", "=x / 0", "=x % T", "=present(x)", "=null"]
)  # fmt: skip
JUNK = st.sampled_from(
    ["=null", "no", "[]", "[1, 2]", "-1", "0", "1.5", "abc", "{a: 1}", "=T", "=T / 3", "=1 / 0"]
)
VALUES = {
    "size": st.sampled_from(["1", "2", "3", "4", "6", "=T", "=B * 2"]),
    "int": st.integers(-3, 4).map(str),
    "float": st.sampled_from(["0.1", "1e-5", "1", "0", "0.5"]),
    "bool": st.sampled_from(["true", "false"]),
    "str": st.sampled_from(["half", "B", "T", "sum", "float", "int"]),
    "sizes": st.sampled_from(["1", "2", "3", "[2]", "[2, 1]", "[1, 2, 2]", "[=T]"]),
    "names": st.sampled_from(["[a, b]", "[a]", "{a: 1, b: 2}"]),
    "init": st.sampled_from(["zeros", "ones", "{normal: {std: 0.1}}", "{constant: 2}"]),
    "expr": EXPRESSIONS.map(json.dumps),
    "parts": st.sampled_from(["{a: 1, b: 3}", "{a: =T}", "[a, b]", "{a: 1, b: null}", "{a: -1}", "{}"]),
    "pattern": st.builds(
        lambda left, right: json.dumps(f"{', '.join(left)} -> {right}"),
        st.lists(SIDE, min_size=1, max_size=2),
        SIDE,
    ),
}


def values(decl: AttrDecl) -> st.SearchStrategy[str]:
    """What may stand for an attribute: mostly of its kind."""
    likely = st.sampled_from(decl.choices) if decl.choices else VALUES[decl.kind]
    return st.integers(0, 19).flatmap(lambda k: JUNK if k == 0 else likely)


@st.composite
def declarations(draw: st.DrawFn, op: OpDef) -> tuple[Case, dict[str, torch.Tensor]]:
    inputs: dict[str, str] = {}
    tensors: dict[str, torch.Tensor] = {}

    def fresh() -> str:
        name = f"in_{len(inputs)}"
        axes, dtype = draw(st.lists(AXES, max_size=4)), draw(TYPED)
        inputs[name] = f"{dtype}[{', '.join(axes)}]"
        tensors[name] = torch.zeros([SIZES[a] if a in SIZES else int(a) for a in axes], dtype=TORCH[dtype])
        return name

    wires: list[str] = []
    for port in op.inputs:
        if port.variadic:
            wires.append(f"{port.name}: [{', '.join(fresh() for _ in range(draw(st.integers(1, 3))))}]")
        elif not port.optional or draw(st.booleans()):
            wires.append(f"{port.name}: {fresh()}")
    if op.open_inputs:
        wires.append(f"x: {fresh()}")
    attrs = [f"{a.name}: {draw(values(a))}" for a in op.attrs if a.required or draw(st.booleans())]
    inputs["b"], tensors["b"] = "float[B, T, S]", torch.zeros(*SIZES.values())
    tensors["b"] = tensors["b"].double()
    text = ", ".join([f"op: {op.name}", f"in: {{{', '.join(wires)}}}", *attrs])
    outs = op.outputs or ("x",) if not op.named_by else ("a",)
    kept = ", ".join([*(f"o{k}: y.{o}" for k, o in enumerate(outs)), *(f"keep_{n}: {n}" for n in inputs)])
    before = "  w: {op: linear, in: b, out: 1}\n" if op.name == "cache" else ""
    case = Case(
        text, dict(reversed(inputs.items())), before=before, outputs=kept + (", w: w" if before else "")
    )
    return case, tensors


@pytest.mark.parametrize("name", OPS)
@settings(max_examples=20)
@given(st.data())
def test_any_declaration(name: str, data: st.DataObject) -> None:
    case, tensors = data.draw(declarations(OPS[name]))
    try:
        program = compiled(case)
    except CompileError as error:
        assert str(error) and all(d.span is not None for d in error.diagnostics)
        event("refused")
        return
    event("accepted")
    module = build(program, dtype=torch.float64)
    if not program.typed.cached and name != "attention_mask":  # None where attention needs no mask
        outputs(program, module, **tensors)
