"""Every shipped spec at a tiny size whose numbers do not coincide, and inputs for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import compiler
from tests.emission.inputs import DRAWN

CONTEXT = 16
_PAIRS = (
    "bart",
    "marian",
    "t5",
    "transformer",
    "translation",
    "whisper",
)  # specs of an encoder and a decoder


_DECODERS = ("gemma2", "gpt2", "gpt_neox", "llama", "mistral", "mixtral", "qwen2", "qwen3")
#: What a spec that reads images takes beside them.
_IMAGES: Mapping[str, tuple[str, ...]] = {
    "vit": ("labels",),
    "vit_encoder": (),
    "vit_gap": ("labels",),
    "clip_image": (),
    "simple_vit": ("labels",),
    "vit_mae": ("noise",),
    "vit_mae_encoder": (),
    "simple_mae": ("noise",),
    "dinov2": ("masked",),
    "dinov2_registers": ("masked",),
    "dinov2_classifier": ("labels",),
}


@dataclass(frozen=True, eq=False)
class Case:
    """A spec, the params that make it tiny, and what its methods take."""

    name: str
    source: str
    set: Mapping[str, Any]
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def spec(self) -> str:
        return self.source.partition(":")[0]

    @property
    def cached(self) -> bool:
        """Whether forward alone continues a sequence of tokens."""
        return self.spec in _DECODERS

    def inputs(
        self, batch: int, length: int, *, masked: bool, method: str = "forward", seed: int = 0
    ) -> dict[str, torch.Tensor]:
        """What a method takes, by name; with a mask, one row is padded on the left and one on the right.

        The numbers of images, texts, tokens and channels differ: dynamo takes equal sizes for one symbol.
        """
        generator = torch.Generator().manual_seed(seed)
        if self.spec in DRAWN:
            drawn = DRAWN[self.spec].inputs(generator, batch, length, masked=masked)
            return {n: drawn[n] for n in self.methods.get(method, tuple(drawn)) if n in drawn}
        every: dict[str, torch.Tensor] = {}
        if self.spec in _IMAGES:
            every["pixels"] = torch.randn(batch, 3, 12, 12, generator=generator)
            every["labels"] = torch.randint(0, 7, (batch,), generator=generator)
            every["noise"] = torch.rand(batch, 9, generator=generator)
            every["masked"] = every["noise"] < 0.4
            return {n: every[n] for n in ("pixels", *_IMAGES[self.spec])}
        if self.spec in ("clip_vitb32", "siglip"):
            every["pixels"] = torch.randn(batch + 4, 3, 12, 12, generator=generator)
        if self.spec in _PAIRS:
            every["source"] = torch.randint(0, 61, (batch, length + 8), generator=generator)
            every["memory"] = torch.randn(batch, length + 8, 24, generator=generator)
            if self.spec == "whisper":
                every["source"] = torch.randn(batch, 5, 40, generator=generator)
            every["target"] = torch.randint(0, 61, (batch, length), generator=generator)
            every["labels"] = torch.randint(0, 61, (batch, length), generator=generator)
        else:
            every["tokens"] = torch.randint(0, 61, (batch, length), generator=generator)
        if "bert" in self.spec and not self.spec.startswith(("deberta", "distilbert")):
            every["segments"] = torch.randint(0, 2, (batch, length), generator=generator)
        if masked:
            name, like = ("source_mask", "source") if self.spec in _PAIRS else ("mask", "tokens")
            mask = every[name] = torch.ones(every[like].shape, dtype=torch.bool)
            mask[0, :2] = False
            mask[-1, -3:] = False
        hidden = {"memory", *(("source_mask",) if self.spec == "whisper" else ())}
        wanted = self.methods.get(method, tuple(n for n in every if n not in hidden))
        return {n: every[n] for n in wanted if n in every}


def _gpt2() -> dict[str, Any]:
    return {"vocab": 61, "context": CONTEXT, "dim": 24, "depth": 2, "heads": 3}


def _llama(**more: Any) -> dict[str, Any]:
    sizes = {"heads": 6, "kv_heads": 2, "head_dim": 8, "hidden": 40}
    return {"vocab": 61, "context": CONTEXT, "dim": 24, "depth": 2, **sizes, **more}


def _bert() -> dict[str, Any]:
    return {"vocab": 61, "context": CONTEXT, "dim": 24, "depth": 2, "heads": 3, "hidden": 40}


def _vit(**more: Any) -> dict[str, Any]:
    return {"image": 12, "patch": 4, "dim": 24, "depth": 2, "heads": 3, "hidden": 40, **more}


def _clip(**more: Any) -> dict[str, Any]:
    image = {"image": 12, "patch": 4, "v_dim": 24, "v_depth": 2, "v_heads": 3}
    text = {"vocab": 61, "context": CONTEXT, "t_dim": 16, "t_depth": 3, "t_heads": 2}
    return {"embed": 20, **image, **text, **more}


def _t5(**more: Any) -> dict[str, Any]:
    sizes = {"heads": 3, "head_dim": 12, "hidden": 40, "buckets": 8, "max_distance": 20}
    return {"vocab": 61, "dim": 24, "depth": 2, "decoder_depth": 3, **sizes, **more}


def _pair(**more: Any) -> dict[str, Any]:
    sizes = {"context": 24, "heads": 3, "hidden": 40, "decoder_heads": 2, "decoder_hidden": 56}
    return {"vocab": 61, "dim": 24, "depth": 2, "decoder_depth": 3, "start": 2, "pad": 1, **sizes, **more}


_SMALL = {"vocab": 61, "context": 24, "dim": 24, "depth": 2, "heads": 3, "hidden": 40}
_HEARD = {"encode": ("source",), "decode": ("memory", "target")}
_HALVES = {"encode": ("source", "source_mask"), "decode": ("memory", "source_mask", "target")}
_STAGES = {"image": 64, "widths": [8, 12, 20, 28], "depths": [2, 1, 3, 1]}
_READ = {"encode_image": ("pixels",), "encode_text": ("tokens", "mask", "segments")}
_TOWERS = {"encode_image": ("pixels",), "encode_text": ("tokens", "mask")}

_REDRAWN = {"dec_dim": 16, "dec_depth": 3, "dec_heads": 2, "dec_hidden": 28}

CASES = (
    Case("gpt2", "gpt2", _gpt2()),
    Case("llama", "llama", _llama(tied=False)),
    Case("llama_tied", "llama", _llama(tied=True)),
    Case("llama_rope3", "llama:3.1-8b", _llama()),
    Case("mistral", "mistral", _llama(window=5)),
    Case("qwen2", "qwen2", _llama(window=5, depth=3, layers=["full_attention", "sliding_attention"])),
    Case("qwen3", "qwen3", _llama()),
    Case("gemma2", "gemma2", _llama(window=5, depth=3)),
    Case("mixtral", "mixtral", _llama(experts=5)),
    Case("gpt_neox", "gpt_neox", _gpt2() | {"hidden": 40, "rotary_part": 0.5}),
    Case("bert", "bert", _bert()),
    Case("bert_mlm", "bert_mlm", _bert()),
    Case("bert_classifier", "bert_classifier", {**_bert(), "classes": 7}),
    Case("bert_tagger", "bert_tagger", {**_bert(), "classes": 7}),
    Case("roberta", "roberta", {**_bert(), "context": CONTEXT + 2, "types": 2}),
    Case("roberta_mlm", "roberta_mlm", {**_bert(), "context": CONTEXT + 2, "types": 2}),
    Case("distilbert", "distilbert", _bert()),
    Case("distilbert_mlm", "distilbert_mlm", _bert()),
    Case("albert", "albert", {**_bert(), "embed": 10}),
    Case("albert_mlm", "albert_mlm", {**_bert(), "embed": 10, "groups": 2}),
    Case("deberta_v3", "deberta_v3", {**_bert(), "span": 4}),
    Case("deberta_conv", "deberta_v3", {**_bert(), "span": 4, "kernel": 3, "shared": False}),
    Case("deberta_v3_classifier", "deberta_v3_classifier", {**_bert(), "span": 4, "classes": 7}),
    Case("vit", "vit", _vit(classes=7)),
    Case("vit_resized", "vit", _vit(classes=7, image=20, input_image=12)),
    Case("vit_encoder", "vit_encoder", _vit()),
    Case("vit_gap", "vit_gap", _vit(classes=7)),
    Case("simple_vit", "simple_vit", _vit(classes=7)),
    Case("vit_mae_encoder", "vit_mae_encoder", _vit()),
    Case("vit_mae", "vit_mae", _vit(**_REDRAWN, norm_pix=True)),
    Case("simple_mae", "simple_mae", _vit(**_REDRAWN)),
    Case("dinov2", "dinov2", _vit(ratio=2)),
    Case("dinov2_gated", "dinov2", _vit(hidden=32, ratio=2, gated=True)),
    Case("dinov2_registers", "dinov2_registers", _vit()),
    Case("dinov2_classifier", "dinov2_classifier", _vit(classes=7)),
    Case("siglip", "siglip", {k: v for k, v in _clip().items() if k != "embed"}, _TOWERS),
    Case("clip_vitb32", "clip_vitb32", _clip(), _TOWERS),
    Case("clip_text", "clip_text", _clip()),
    Case("clip_image", "clip_image", _clip()),
    Case("clip_eot", "clip_vitb32", _clip(eot=5), _TOWERS),
    Case("bart", "bart", _pair(), _HALVES),
    Case("marian", "marian", _pair(), _HALVES),
    Case("whisper", "whisper", _pair(mels=5, source_context=20), _HEARD),
    Case("t5", "t5", _t5(), _HALVES),
    Case("t5_v1", "t5:v1-small", _t5(), _HALVES),
    Case("transformer", "transformer", {**_SMALL, "source_vocab": 67}, _HALVES),
    Case("translation", "translation", _SMALL, _HALVES),
    Case("char_gpt", "char_gpt", {**_gpt2(), "depth": 3}),
    Case("mlm", "mlm", _SMALL),
    Case("convnext", "convnext", {**_STAGES, "classes": 7}, {"encode_image": ("pixels",)}),
    Case("liteclip", "liteclip", {**_STAGES, **_bert(), "embed": 20}, _READ),
    Case("unetr", "unetr", {"image": 32, "channels": 2, "classes": 5, "dim": 24, "heads": 3, "base": 2}),
    Case("starter_attention", "starter_attention", {"dim": 24, "heads": 3}),
    Case("starter_cross", "starter_cross_attention", {"dim": 24, "heads": 3, "memory_dim": 20}),
    Case("starter_einsum", "starter_einsum_attention", {"dim": 24, "heads": 3}),
    Case("starter_grouped", "starter_grouped_query", {"dim": 24, "heads": 6, "groups": 2}),
    Case("starter_half", "starter_rotary", {"dim": 24, "heads": 3}),
    Case("starter_interleaved", "starter_rotary:interleaved", {"dim": 24, "heads": 3}),
    Case("starter_patchify", "starter_patchify", {"image": 12, "patch": 4}),
)
CACHED = tuple(c for c in CASES if c.cached)
TRAINED = tuple(c for c in CASES if c.spec != "starter_patchify")  # which has no parameters

#: One case of each kind, the richest: for what takes seconds a case.
_RICHEST = ("gpt2", "llama_tied", "gemma2", "mixtral", "bert", "bert_mlm", "clip_vitb32", "t5")
ONE_EACH = tuple(c for c in CASES if c.name in _RICHEST)


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
