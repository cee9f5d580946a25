"""What data a run was trained on, as hashes in its folder.

A split is drawn from all examples at once: one example more, and most of what was held out is trained on.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from compiler.source.text import Span
from runtime.training.data.common import Data, Examples

DATA: Final = "data.json"
Fingerprint = Mapping[str, Mapping[str, object]]


def fingerprint(data: Data) -> Fingerprint:
    """How many examples each part has, and the SHA-256 of what they are made of; of the tokenizer, too."""
    parts = {"to train on": data.train, "held out": data.valid, "to test on": data.test}
    found = {name: _part(part) for name, part in parts.items() if part is not None}
    if data.tokenizer is not None:
        text = data.tokenizer.backend.to_str()
        found["tokenizer"] = {
            "tokens": data.tokenizer.size,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
    return found


def check_data(folder: Path, data: Data, span: Span, help: str) -> None:
    """Raises CompileError unless the data is what the run in a folder began with. span: where it is named."""
    try:
        before: Fingerprint = json.loads((folder / DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        message = f"note: {folder / DATA} cannot be read: whether the data is what it was is not known"
        print(message, file=sys.stderr)
        return
    now = fingerprint(data)
    changes = [_change(name, before.get(name, {}), now.get(name, {})) for name in {**before, **now}]
    if any(changes):
        message = (
            f"the data is not what the run in `{folder}` was trained on: {', '.join(filter(None, changes))}"
        )
        raise fail("conflict", message, span, help=help)


def _change(name: str, before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """What became of a part; empty if nothing."""
    counts = [f"{count:,} {what}" for one in (before, now) for what, count in one.items() if what != "sha256"]
    if before == now:
        return ""
    what = " are now ".join(counts) if len(set(counts)) > 1 else f"{counts[0]} are not the same"
    return f"{name}: {what}"


def _part(examples: Examples) -> Mapping[str, object]:
    digest = hashlib.sha256()
    for source in examples.sources():
        if isinstance(source, str):
            digest.update(f"{len(source)} {source}".encode())
            continue
        digest.update(f"{source.dtype}{tuple(source.shape)}".encode())
        digest.update(_bytes(source))
    return {"examples": len(examples), "sha256": digest.hexdigest()}


def _bytes(tensor: Tensor) -> memoryview:
    if not tensor.numel():
        return memoryview(b"")
    data: memoryview = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
    return data
