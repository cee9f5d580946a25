"""What each of two processes does: every shipped spec split over both, beside itself whole."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from compiler.backend.build import build
from compiler.ir.typed import TypedGraph
from compiler.parallel.placement import place
from compiler.pipeline import program, typed_graph
from tests.emission.models import TRAINED, Case, tensors

RANKS = 2


def halved(case: Case) -> TypedGraph:
    """The case with an even number of heads."""
    even = {k: 6 for k, v in case.set.items() if k in ("heads", "v_heads") and v == 3}
    return typed_graph(case.source, set={**case.set, **even})


def _built(graph: TypedGraph, style: str) -> nn.Module:
    torch.manual_seed(0)
    model = build(program(graph, style), dtype=torch.float64).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def _measured(model: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs and gradients of the sum of their squares, whole."""
    found = {k: v for k, v in tensors(model(**given)).items() if v is not None and v.is_floating_point()}
    torch.autograd.backward(torch.stack([v.square().sum() for v in found.values()]).sum())
    out = {f"output {name}": value.detach() for name, value in found.items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            grad = parameter.grad
            out[f"gradient of {name}"] = grad.full_tensor() if isinstance(grad, DTensor) else grad
    return out


def worst(case: Case, mesh: DeviceMesh) -> float:
    """The largest difference, of outputs by their own scale, of gradients by that of the largest."""
    from runtime.parallel.tensor import split

    graph = halved(case)
    given = {
        k: v.double() if v.is_floating_point() else v
        for k, v in case.inputs(3, 7, masked="mask" in graph.root.inputs).items()
    }
    want = _measured(_built(graph, "views"), given)
    found = _measured(split(_built(graph, "local"), place(graph, tp=RANKS), mesh), given)
    assert found.keys() == want.keys(), case.name
    largest = max(float(v.abs().max()) for k, v in want.items() if k.startswith("gradient"))
    return max(
        float((found[k] - v).abs().max())
        / (largest if k.startswith("gradient") else max(float(v.abs().max()), 1e-300))
        for k, v in want.items()
    )


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    for case in TRAINED:
        torch.save({"worst": worst(case, mesh)}, folder / f"{case.name}-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
