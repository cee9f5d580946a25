"""Every shipped spec at a tiny size whose numbers do not coincide, and inputs for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import compiler

CONTEXT = 16


@dataclass(frozen=True, eq=False)
class Case:
    """A spec, the params that make it tiny, and what its methods are called with."""

    name: str
    source: str
    set: Mapping[str, Any]
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def spec(self) -> str:
        return self.source.partition(":")[0]

    @property
    def cached(self) -> bool:
        return self.spec in ("gpt2", "llama")

    def inputs(self, batch: int, length: int, *, masked: bool, seed: int = 0) -> dict[str, torch.Tensor]:
        """Inputs of forward by name; with a mask, one row is padded on the left and one on the right.

        The numbers of images, texts, tokens and channels differ: dynamo takes equal sizes for one symbol.
        """
        generator = torch.Generator().manual_seed(seed)
        out: dict[str, torch.Tensor] = {}
        if self.spec == "clip_vitb32":
            out["pixels"] = torch.randn(batch + 4, 3, 12, 12, generator=generator)
        out["tokens"] = torch.randint(0, 61, (batch, length), generator=generator)
        if masked:
            out["mask"] = torch.ones(batch, length, dtype=torch.bool)
            out["mask"][0, :2] = False
            out["mask"][-1, -3:] = False
        if self.spec.startswith("bert"):
            out["segments"] = torch.randint(0, 2, (batch, length), generator=generator)
        return out


def _gpt2() -> dict[str, Any]:
    return {"vocab": 61, "context": CONTEXT, "dim": 24, "depth": 2, "heads": 3}


def _llama(**more: Any) -> dict[str, Any]:
    sizes = {"heads": 6, "kv_heads": 2, "head_dim": 8, "hidden": 40}
    return {"vocab": 61, "context": CONTEXT, "dim": 24, "depth": 2, **sizes, **more}


def _bert() -> dict[str, Any]:
    return {"vocab": 61, "context": CONTEXT, "dim": 24, "depth": 2, "heads": 3, "hidden": 40}


def _clip(**more: Any) -> dict[str, Any]:
    image = {"image": 12, "patch": 4, "v_dim": 24, "v_depth": 2, "v_heads": 3}
    text = {"vocab": 61, "context": CONTEXT, "t_dim": 16, "t_depth": 3, "t_heads": 2}
    return {"embed": 20, **image, **text, **more}


_TOWERS = {"encode_image": ("pixels",), "encode_text": ("tokens", "mask")}

CASES = (
    Case("gpt2", "gpt2", _gpt2()),
    Case("llama", "llama", _llama(tied=False)),
    Case("llama_tied", "llama", _llama(tied=True)),
    Case("llama_rope3", "llama:3.1-8b", _llama()),
    Case("bert", "bert", _bert()),
    Case("bert_mlm", "bert_mlm", _bert()),
    Case("clip_vitb32", "clip_vitb32", _clip(), _TOWERS),
    Case("clip_eot", "clip_vitb32", _clip(eot=5), _TOWERS),
)
CACHED = tuple(c for c in CASES if c.cached)

#: One case of each spec, the richest: for what takes seconds a case.
ONE_EACH = tuple(c for c in CASES if c.name in ("gpt2", "llama_tied", "bert", "bert_mlm", "clip_vitb32"))


def built(case: Case, *, dtype: torch.dtype | None = None, seed: int = 0) -> nn.Module:
    """The module in eval mode, every parameter off its initial symmetry."""
    torch.manual_seed(seed)
    model = compiler.build(case.source, set=case.set, dtype=dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def name(value: object) -> str:
    """What a test calls a parameter."""
    return value.name if isinstance(value, Case) else str(value)


def tensors(output: Any) -> dict[str, torch.Tensor]:
    """The tensors that a call returned, by name."""
    return {"": output} if isinstance(output, torch.Tensor) else output._asdict()
