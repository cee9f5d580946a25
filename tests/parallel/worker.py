"""What each of two processes does: every case, split over both, its loss, outputs and gathered gradients."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from compiler.backend.build import build
from compiler.parallel.placement import place
from compiler.pipeline import program, typed_graph

RANKS = 2


@dataclass(frozen=True)
class Case:
    """A spec at a tiny size whose numbers do not coincide, and what it reads."""

    source: str
    set: Mapping[str, Any]
    inputs: tuple[str, ...]
    plan: Mapping[str, str] = field(default_factory=dict[str, str])


_LLAMA = {"vocab": 61, "dim": 24, "depth": 2, "heads": 4, "kv_heads": 2, "head_dim": 6, "hidden": 40}
_BERT = {"vocab": 61, "context": 16, "dim": 24, "depth": 2, "heads": 6, "hidden": 40}
_T5 = {
    "heads": 4,
    "head_dim": 6,
    "hidden": 40,
    "buckets": 8,
    "max_distance": 20,
    "depth": 2,
    "decoder_depth": 3,
}
CASES: Mapping[str, Case] = {
    "llama": Case("llama", _LLAMA, ("tokens", "mask", "labels")),
    "llama_tied": Case("llama", _LLAMA | {"tied": True}, ("tokens", "labels")),
    "llama_partly": Case("llama", _LLAMA, ("tokens", "labels"), {"h.*.mlp.up": "replicate"}),
    "qwen3": Case("qwen3", _LLAMA, ("tokens", "mask", "labels")),
    "gemma2": Case("gemma2", _LLAMA | {"window": 5}, ("tokens", "mask", "labels")),
    "mixtral": Case("mixtral", _LLAMA | {"experts": 5}, ("tokens", "mask", "labels")),
    "gpt2": Case(
        "gpt2", {"vocab": 61, "context": 16, "dim": 24, "depth": 2, "heads": 4}, ("tokens", "labels")
    ),
    "bert_mlm": Case("bert_mlm", _BERT, ("tokens", "segments", "mask")),
    "t5": Case("t5", _T5 | {"vocab": 61, "dim": 24}, ("source", "source_mask", "target", "labels")),
    "vit": Case(
        "vit",
        {"image": 12, "patch": 4, "dim": 24, "depth": 2, "heads": 4, "hidden": 40, "classes": 7},
        ("pixels", "labels"),
    ),
}


def inputs(case: Case) -> dict[str, Tensor]:
    """Three sequences of seven, one of which is padded."""
    draw = torch.Generator().manual_seed(1)
    every = {name: torch.randint(0, 61, (3, 7), generator=draw) for name in ("tokens", "target", "labels")}
    every["source"] = torch.randint(0, 61, (3, 9), generator=draw)
    every["segments"] = torch.randint(0, 2, (3, 7), generator=draw)
    every["pixels"] = torch.randn(3, 3, 12, 12, generator=draw, dtype=torch.float64)
    for name, like in (("mask", "tokens"), ("source_mask", "source")):
        every[name] = torch.ones(every[like].shape, dtype=torch.bool)
        every[name][1, -2:] = False
    if "pixels" in case.inputs:
        every["labels"] = torch.randint(0, 7, (3,), generator=draw)
    return {name: every[name] for name in case.inputs}


def built(case: Case, style: str) -> nn.Module:
    """The module in double precision, every parameter off its initial symmetry."""
    torch.manual_seed(0)
    model = build(program(typed_graph(case.source, set=case.set), style), dtype=torch.float64).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def measured(model: nn.Module, case: Case) -> dict[str, Tensor]:
    """Outputs, loss and the gradient of every parameter, whole, by name."""
    found = model(**inputs(case))
    if isinstance(found, Tensor):  # no loss of its own: the sum of squares
        torch.autograd.backward(found.square().sum())
        out = {"output": found.detach()}
    else:
        torch.autograd.backward(found.loss)
        out = {name: value.detach() for name, value in found._asdict().items() if value is not None}
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        assert grad is not None, name
        out[f"gradient of {name}"] = grad.full_tensor() if isinstance(grad, DTensor) else grad
    return out


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _refused(model: nn.Module) -> str:
    """What a split model says when it is asked for a cache."""
    try:
        cast("Any", model).new_cache(1, 8)
    except (AttributeError, ValueError) as refusal:
        return str(refusal)
    return ""


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    from runtime.parallel.tensor import split

    for name, case in CASES.items():
        graph = typed_graph(case.source, set=case.set)
        placement = place(graph, tp=RANKS, plan=case.plan)
        model = split(built(case, "local"), placement, mesh)
        found = measured(model, case)
        local = {n: tuple(_local(p).shape) for n, p in model.named_parameters()}
        frozen = build(program(graph, "local"), device="meta").requires_grad_(False)
        trained = [n for n, p in split(frozen, placement, mesh).named_parameters() if p.requires_grad]
        said = {"found": found, "local": local, "cache": _refused(model), "trained": trained}
        torch.save(said, folder / f"{name}-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
