"""verify: the plan of a checkpoint, and proof that what was read can be given back bit for bit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from compiler.backend.build import build
from compiler.weights.report import summary
from runtime.checkpoint.reader import open_checkpoint
from runtime.load_plan import export_plan, load_plan
from runtime.sources import open_source


@dataclass(frozen=True)
class Verification:
    """The plan in words, and the keys whose bytes did not come back."""

    summary: str
    compared: int
    lost: tuple[str, ...]


def verify(
    source: str | Path,
    *,
    weights: str | Path = "default",
    dialect: str | None = None,
    weightmap: str | Path | None = None,
) -> Verification:
    """Load a checkpoint, run its plan backwards, and compare a hash of every tensor with the file's.

    A dialect that is only read (GGUF) is loaded and not compared. Raises CompileError as `load` does.
    """
    opened = open_source(source, weights=weights, dialect=dialect, weightmap=weightmap)
    assert opened.header is not None
    plan = opened.plan(None)
    model = build(opened.program, device="meta")
    checkpoint = open_checkpoint(opened.header)
    load_plan(plan, checkpoint.tensor, model)
    if plan.readonly:
        return Verification(summary(plan), 0, ())
    lost = [key for key, tensor in export_plan(plan, model) if _hash(tensor) != _hash(checkpoint.tensor(key))]
    return Verification(summary(plan), len(plan.theirs), tuple(lost))


def _hash(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's type, shape and bytes."""
    flat = tensor.detach().contiguous().reshape(-1)
    digest = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    if flat.numel():
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
