"""Layouts of weights in memory: the same values and names, placed for the products that will be asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compiler.backend.build import program_of
from compiler.diagnostics.diagnostic import fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import OpNode
from compiler.ir.program import Program

#: "decode": for one token at a time, where every weight is read once and a product is as fast as memory.
#: "batch": for the tokens of several rows at a time.
#: "rows": contiguous, as torch makes them.
LAYOUTS: Final = ("decode", "batch", "rows")
_BATCH: Final = 8


def check_layout(layout: str | None) -> None:
    """Raises CompileError for a layout that there is not."""
    if layout is not None and layout not in LAYOUTS:
        raise fail("usage", f"no layout is called `{layout}`", None, help=did_you_mean(layout, LAYOUTS))


def matrices(program: Program) -> frozenset[str]:
    """The tensors that linear maps multiply by, a tied embedding among them."""
    own = {init.parameter for init in program.inits if init.owner == "linear.weight"}
    actions = (node.node.action for node in program.typed.root.nodes)
    linear = (a for a in actions if isinstance(a, OpNode) and a.op == "linear")
    return frozenset(own | {str(a.shares["weight"].value) for a in linear if "weight" in a.shares})


def lay_out(model: nn.Module, layout: str) -> None:
    """Give the matrices of a model on the processor the layout "decode" or "batch"; their values stay.

    By columns ("decode" in float32): where there are more rows than columns, which BLAS reads faster by a
    vector. In blocks (the others): a copy beside the weight, as oneDNN's kernels read it.
    """
    for name in matrices(program_of(model)):
        owner_name, _, leaf = name.rpartition(".")
        owner = model.get_submodule(owner_name)
        weight: Any = getattr(owner, leaf)
        place = _PLACED.get((layout, weight.dtype))
        if place is not None and weight.device.type == "cpu" and weight.dim() == 2:
            setattr(owner, leaf, place(weight))


def _by_columns(weight: nn.Parameter) -> nn.Parameter:
    rows, columns = weight.shape
    if rows < columns:
        weight.data = weight.data.contiguous()
    elif weight.stride(0) != 1:
        weight.data = weight.data.t().contiguous().t()
    return weight


class PackedParameter(nn.Parameter):
    """A matrix with a copy in the blocks of oneDNN's kernels, read where no gradient is recorded."""

    packed: Tensor
    version: int

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.linear and not torch.is_grad_enabled() and not kwargs:
            x, weight, *bias = args
            if (
                isinstance(weight, cls)
                and x.dtype is weight.packed.dtype
                and weight._version == weight.version
            ):
                return _product(x, weight.packed, bias[0] if bias else None, "none", [], "")
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def _packed(weight: nn.Parameter, rows: int) -> nn.Parameter:
    """rows: how many oneDNN is to expect in a product; its blocks depend on it."""
    if not torch._C._has_mkldnn:
        return weight
    if weight.dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return weight
    made = PackedParameter(weight.data, requires_grad=weight.requires_grad)
    made.packed = torch.ops.mkldnn._reorder_linear_weight(weight.data, rows)
    made.version = made._version
    return made


_product = torch.ops.mkldnn._linear_pointwise
_PLACED: Final[Mapping[tuple[str, torch.dtype], Callable[[nn.Parameter], nn.Parameter]]] = MappingProxyType(
    {
        ("decode", torch.float32): _by_columns,
        ("decode", torch.bfloat16): partial(_packed, rows=1),
        ("batch", torch.float32): partial(_packed, rows=_BATCH),
        ("batch", torch.bfloat16): partial(_packed, rows=_BATCH),
    }
)
