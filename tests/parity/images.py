"""Image encoders of the transformers library, asked about a few images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

import runtime
from tests.parity import hf
from tests.parity.harness import Case, Tensors

Inputs = Mapping[str, torch.Tensor]


def pixels(channels: int, size: int) -> torch.Tensor:
    """Three images."""
    return torch.randn(3, channels, size, size, generator=torch.Generator().manual_seed(5))


def in_precision(model: nn.Module, inputs: Inputs) -> dict[str, torch.Tensor]:
    """The inputs, those with fractions in the precision of the model."""
    dtype = next(model.parameters()).dtype
    return {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}


def ask_ours(model: Any, inputs: Inputs, names: Mapping[str, str]) -> Tensors:
    """The outputs that are compared, by our names."""
    given = model(**in_precision(model, inputs))
    return {name: given if isinstance(given, torch.Tensor) else getattr(given, name) for name in names}


def case(
    kind: Any,
    config: Any,
    names: Mapping[str, str],
    inputs: Inputs,
    *,
    renamed: Mapping[str, str] | None = None,
    load: Callable[[Path], nn.Module] = runtime.load,
    attention: str = "sdpa",
    **options: Any,
) -> Case:
    """names: our outputs and theirs. inputs: by our names. renamed: to theirs. options: of their forward."""
    words = {"pixels": "pixel_values", **(renamed or {})}

    def ask_theirs(model: nn.Module) -> Tensors:
        given = {words.get(name, name): x for name, x in in_precision(model, inputs).items()}
        answer, dtype = model(**given, **options), next(model.parameters()).dtype
        return {name: getattr(answer, theirs).to(dtype) for name, theirs in names.items()}

    return Case(
        make=hf.maker(kind, config, attention),
        save=hf.save,
        load=load,
        theirs=ask_theirs,
        ours=lambda model: ask_ours(model, inputs, names),
        dialect="hf",
        reopen=hf.opener(kind, attention),
        same_file=True,
        lifted=hf.without_casts,
    )


def timm_case(
    spec: str,
    sizes: Mapping[str, Any],
    inputs: Inputs,
    make: Callable[[], nn.Module],
    weightmap: Path | None = None,
) -> Case:
    """A classifier of timm, whose files hold tensors alone. sizes: the params that its constructor has."""

    def load(folder: Path) -> nn.Module:
        (file,) = (f for f in folder.iterdir() if f.suffix in (".pt", ".safetensors"))
        dialect = None if weightmap else "timm"
        return runtime.load(spec, weights=file, set=sizes, dialect=dialect, weightmap=weightmap)

    def reopen(folder: Path) -> nn.Module:
        model = make()
        state = load_file(folder / "model.safetensors")
        model.to(next(iter(state.values())).dtype).load_state_dict(state, strict=True)
        return model

    return Case(
        make=make,
        save=lambda model, folder: torch.save(model.state_dict(), folder / "model.pt"),
        load=load,
        theirs=lambda model: {"logits": model(in_precision(model, inputs)["pixels"])},
        ours=lambda model: ask_ours(model, inputs, {"logits": "logits"}),
        dialect="timm",
        reopen=reopen,
    )
