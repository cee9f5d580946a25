"""Low-rank adapters in PEFT's own files: written so that PEFT opens them, read wherever they came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from compiler.backend.build import build, program_of
from compiler.diagnostics.diagnostic import Diagnostics, fail
from compiler.ir.graph import Adapters
from compiler.ir.program import Program
from compiler.passes.adapt import plain
from compiler.passes.infer_shapes import infer_shapes
from compiler.pipeline import program as lowered
from compiler.weights.readers import read_header
from runtime.checkpoint.reader import open_checkpoint
from runtime.joined import spec_state
from runtime.lifting import Lifted, lift

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def save_adapter(
    model: nn.Module, folder: str | Path, *, to: str = "hf", force: bool = False
) -> tuple[Path, ...]:
    """Write the trained part of an adapted model as a PEFT adapter of a base model in the dialect `to`.

    Raises CompileError for a model without adapters, and for a linear map whose place in the base model's
    layout cannot carry a low-rank addition.
    """
    program, adapters = _adapted(model)
    lifted = lift(program, to)
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    state = spec_state(model)
    for place in lifted.modules:
        a, b = place.joined({m: (state[f"{m}.lora_a"], state[f"{m}.lora_b"]) for m in place.members})
        tensors[f"{PREFIX}{place.module}.lora_A.weight"] = a.contiguous()
        tensors[f"{PREFIX}{place.module}.lora_B.weight"] = b.contiguous()
        ranks[place.module] = a.shape[0]
    tensors |= {f"{PREFIX}{key}": t for key, t in lifted.whole(state, adapters).items()}
    config = _config(adapters, ranks, lifted)
    return _write(Path(folder), tensors, json.dumps(config, indent=2, sort_keys=True) + "\n", force)


def load_adapter(model: nn.Module, folder: str | Path, *, dialect: str = "hf") -> nn.Module:
    """Give an adapted model the trained part that a PEFT adapter folder holds; returns the model.

    Raises CompileError, with the model unchanged, for tensors that are missing,
    unexpected or of another shape, and for another alpha / rank than the spec's.
    """
    program, adapters = _adapted(model)
    folder = Path(folder)
    config = _read_config(folder / CONFIG)
    checkpoint = open_checkpoint(read_header(folder / WEIGHTS))
    held = {k.removeprefix(PREFIX): k for k in checkpoint.header.tensors}
    lifted = lift(program, dialect)
    diagnostics = Diagnostics()
    found: dict[str, Tensor] = {}
    for place in lifted.modules:
        keys = [f"{place.module}.lora_{x}.weight" for x in "AB"]
        if any(key not in held for key in keys):
            diagnostics.error("key-missing", f"the adapter has no addition for `{place.module}`", None)
            continue
        a, b = (checkpoint.tensor(held.pop(key)) for key in keys)
        _check_scale(config, place.module, a.shape[0], adapters, diagnostics)
        found |= place.parted(a, b, adapters.rank)
    for key, name in lifted.whole_names(adapters).items():
        if key in held:
            found[name] = checkpoint.tensor(held.pop(key))
        else:
            diagnostics.error("key-missing", f"the adapter lacks `{key}`, which the spec trains", None)
    for key in held:
        diagnostics.error("key-unexpected", f"the spec adapts nothing at `{key}`", None)
    own = dict(model.named_parameters())
    for name, tensor in found.items():
        if own[name].shape != tensor.shape:
            message = f"`{name}` is {list(tensor.shape)} in the adapter, the spec has {list(own[name].shape)}"
            diagnostics.error("key-mismatch", message, None)
    diagnostics.check()
    with torch.no_grad():
        for name, tensor in found.items():
            own[name].copy_(tensor)
    return model


def start_adapters(model: nn.Module) -> None:
    """Initial values for additions that no checkpoint holds: A by torch's rule for linear maps, B zero."""
    for module in model.modules():
        low = getattr(module, "lora_a", None)
        if isinstance(module, nn.Linear) and isinstance(low, nn.Parameter) and low.is_meta:
            like = module.weight
            module.lora_a = nn.Parameter(torch.empty(low.shape, dtype=like.dtype, device=like.device))
            nn.init.kaiming_uniform_(module.lora_a, a=5**0.5)
            module.lora_b = nn.Parameter(like.new_zeros(like.shape[0], low.shape[0]))


def merge(model: nn.Module) -> nn.Module:
    """The same function without adapters: a module of the plain spec,
    the additions added into its weights.
    """
    program, adapters = _adapted(model)
    base = build(lowered(infer_shapes(plain(program.typed.graph))), device="meta")
    state = spec_state(model)
    merged: dict[str, Tensor] = {}
    for name, tensor in state.items():
        owner, _, leaf = name.rpartition(".")
        if leaf in ("lora_a", "lora_b"):
            continue
        if leaf == "weight" and f"{owner}.lora_a" in state:
            low = state[f"{owner}.lora_b"] @ state[f"{owner}.lora_a"]
            tensor = tensor + low * (adapters.alpha / adapters.rank)
        merged[name] = tensor
    base.load_state_dict(merged, assign=True)
    return base.train(model.training)


def _write(folder: Path, tensors: Mapping[str, Tensor], config: str, force: bool) -> tuple[Path, ...]:
    """Both files, each put in place whole."""
    paths = (folder / WEIGHTS, folder / CONFIG)
    standing = [p for p in paths if p.exists()]
    if standing and not force:
        raise fail(
            "not-writable", f"`{standing[0]}` exists", None, help="choose another folder, or force=True"
        )
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{WEIGHTS}.tmp"
    save_file(dict(tensors), staged, metadata={"format": "pt"})
    staged.replace(paths[0])
    paths[1].write_text(config, encoding="utf-8")
    return paths


def _adapted(model: nn.Module) -> tuple[Program, Adapters]:
    program = program_of(model)
    adapters = program.typed.graph.adapters
    if adapters is None:
        raise fail("usage", f"the spec {program.name} has no adapters", program.typed.root.block.span)
    return program, adapters


def _config(adapters: Adapters, ranks: Mapping[str, int], lifted: Lifted) -> dict[str, Any]:
    """What PEFT reads: a joint addition has the rank of its members together,
    and an alpha of the same scale.
    """
    odd = {m: r for m, r in ranks.items() if r != adapters.rank}
    scale = adapters.alpha / adapters.rank
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": adapters.rank,
        "lora_alpha": adapters.alpha,
        "lora_dropout": adapters.dropout,
        "bias": "none",
        "fan_in_fan_out": lifted.transposed,
        "target_modules": sorted(ranks),
        "modules_to_save": sorted(lifted.whole_modules(adapters)) or None,
        "rank_pattern": odd,
        "alpha_pattern": {m: scale * r for m, r in odd.items()},
    }


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise fail("unreadable", f"`{path}` is no adapter config: {error}", None) from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise fail("checkpoint-format", f"`{path}` is no LoRA adapter", None)
    for key, wanted in (("use_rslora", False), ("use_dora", False), ("bias", "none")):
        if config.get(key, wanted) != wanted:
            raise fail("config-value", f"`{path}`: `{key}` is {config[key]}, which is not supported", None)
    return config


def _check_scale(
    config: Mapping[str, Any], module: str, rank: int, adapters: Adapters, diagnostics: Diagnostics
) -> None:
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    alpha = patterns.get(module, config.get("lora_alpha", 8))
    if alpha / rank != adapters.alpha / adapters.rank:
        diagnostics.error(
            "config-value",
            f"the adapter scales `{module}` by {alpha} / {rank}, "
            f"the spec by {adapters.alpha} / {adapters.rank}",
            adapters.at[0].span,
        )
