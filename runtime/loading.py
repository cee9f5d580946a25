"""load: a spec and a checkpoint as a module that is ready to run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from compiler.backend.build import build
from compiler.diagnostics.diagnostic import fail
from compiler.weights.header import Header
from compiler.weights.load_plan import FLOATS, LoadPlan
from runtime.adapters import start_adapters
from runtime.checkpoint.dtypes import name_of
from runtime.checkpoint.reader import open_checkpoint
from runtime.layout import check_layout, lay_out, matrices
from runtime.load_plan import load_plan
from runtime.origin import remember
from runtime.sources import Source, open_source

#: How each loaded module's checkpoint was read, so that an export in that dialect gives the same file back.
_plans: WeakKeyDictionary[nn.Module, LoadPlan] = WeakKeyDictionary()


def load(  # noqa: PLR0913 - the contract, each by name
    source: str | Path,
    *,
    weights: str | Path | None = "default",
    dialect: str | None = None,
    weightmap: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    optimize: Collection[str] = (),
    layout: str | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> nn.Module:
    """A compiled module with its weights, in eval mode.

    source: a spec's name (`gpt2`, `gpt2:medium`), its path, or a checkpoint of a known family: a folder, a
    file, or a repository (`owner/name`, `owner/name@revision`, where no file or folder is called so).
    weights: "default" (the checkpoint that `source` is, or that is published for it: from the hub's cache,
    else fetched), a file, folder or repository, or None for the spec's initial values.
    dialect, weightmap: whose names the checkpoint uses; left out, the only map that covers it.
    optimize: as for `compiler.build`; whatever the module holds, a checkpoint is read and written the same.
    layout: "decode" places the weights for one token at a time on the CPU, "batch" for those of several
    rows: faster there, for more memory. "rows" makes every weight contiguous; left out, matrices in float32
    may stay transposed views of the file.
    dtype: of the floating-point weights; left out, as the file has them. Weights to which the spec gives a
    type of their own keep it.
    device: one device, by torch's name; left out, the CPU. On "meta" there are shapes and types alone.

    Tensors that the file holds as the module needs them are mapped, not copied. Raises CompileError,
    before a tensor is read, for anything missing, unexpected or of another shape, and for a device that is
    not there.
    """
    _check_placement(dtype, device)
    check_layout(layout)
    opened = open_source(
        source, weights=weights, dialect=dialect, weightmap=weightmap, set=set, optimize=optimize
    )
    if opened.header is None:
        model = build(opened.program, device=device, dtype=dtype)
    else:
        model = _read(opened, opened.header, dtype, strided=layout != "rows")
        if device is not None:
            model.to(device)
    if layout in ("decode", "batch"):
        lay_out(model, layout)
    remember(model, opened.origin)
    return model.eval()


def _read(opened: Source, header: Header, dtype: torch.dtype | None, strided: bool) -> nn.Module:
    """The module with the checkpoint's tensors. strided: matrices may stay as they lie in the file."""
    plan = opened.plan(name_of(dtype) if dtype is not None else None)
    model = build(opened.program, device="meta")
    free = matrices(opened.program) if strided else ()
    load_plan(plan, open_checkpoint(header).tensor, model, joins=opened.program.joins, strided=free)
    start_adapters(model)
    _plans[model] = plan
    return model


def plan_of(model: nn.Module) -> LoadPlan | None:
    """The plan by which a module was loaded."""
    return _plans.get(model)


def _check_placement(dtype: torch.dtype | None, device: str | torch.device | None) -> None:
    """Raise CompileError for a type that weights cannot have, and for a device that this machine lacks."""
    if dtype is not None and name_of(dtype) not in FLOATS:
        known = ", ".join(sorted(FLOATS))
        raise fail("usage", f"weights cannot be of type {name_of(dtype)}", None, help=f"one of {known}")
    if device is None:
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise fail("usage", f"the device `{device}` cannot be used: {reason}", None) from None
