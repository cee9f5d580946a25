"""Mistral, Mixtral, Qwen2, Qwen3, Gemma 2 and GPT-NeoX against transformers, windows and caches among them.

Every text is longer than the windows, and the caches are filled past them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import compiler
import runtime
from compiler.diagnostics.diagnostic import CompileError
from tests.parity import decoders, hf, tables
from tests.parity.harness import check

ROPE = {"rope_type": "default", "rope_theta": 500.0}
SMALL = {
    "vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 6,
    "intermediate_size": 44, "max_position_embeddings": 48, "rope_parameters": ROPE,
}  # fmt: skip
GROUPED = SMALL | {"num_key_value_heads": 2}
WINDOWED = {"use_sliding_window": True, "sliding_window": 5}


@dataclass(frozen=True)
class Family:
    """A model of transformers, its config, small sizes of it, and the values that a map reads otherwise."""

    model: Any
    config: Any
    small: dict[str, Any]
    acts: str = "hidden_act"
    attention: str = "sdpa"

    def made(self, **more: Any) -> Any:
        return self.config(**self.small | more)


FAMILIES = {
    "llama": Family(LlamaForCausalLM, LlamaConfig, GROUPED | {"head_dim": 10}),
    "mistral": Family(MistralForCausalLM, MistralConfig, GROUPED | {"head_dim": 10, "sliding_window": 5}),
    "mixtral": Family(
        MixtralForCausalLM, MixtralConfig,
        GROUPED | {"head_dim": 10, "num_local_experts": 5, "num_experts_per_tok": 3, "num_hidden_layers": 2},
    ),
    "qwen2": Family(Qwen2ForCausalLM, Qwen2Config, GROUPED),
    "qwen3": Family(Qwen3ForCausalLM, Qwen3Config, GROUPED | {"head_dim": 10}),
    "gemma2": Family(
        Gemma2ForCausalLM, Gemma2Config,
        GROUPED | {
            "head_dim": 10, "sliding_window": 5, "query_pre_attn_scalar": 7, "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
        acts="hidden_activation", attention="eager",
    ),
    "gpt_neox": Family(
        GPTNeoXForCausalLM, GPTNeoXConfig,
        SMALL | {"num_attention_heads": 3, "rope_parameters": ROPE | {"partial_rotary_factor": 0.5}},
    ),
}  # fmt: skip
#: What a config may say beside sizes; the first of each family is the family as it is.
CONFIGS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in FAMILIES),
    ("llama", {"attention_bias": True, "mlp_bias": True}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 3.0}}),
    ("mistral", {"sliding_window": None}),
    ("mistral", {"num_hidden_layers": 11, "tie_word_embeddings": True}),
    ("mixtral", {"sliding_window": 5, "num_experts_per_tok": 1}),
    ("qwen2", {**WINDOWED, "max_window_layers": 1, "tie_word_embeddings": True}),
    ("qwen3", {**WINDOWED, "max_window_layers": 0, "attention_bias": True}),
    ("qwen3", {**WINDOWED, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    ("gemma2", {"attention_bias": True, "tie_word_embeddings": False, "num_hidden_layers": 11}),
    ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None, "sliding_window": 7}),
    ("gemma2", {"layer_types": ["full_attention"] * 3}),
    ("gpt_neox", {"use_parallel_residual": False, "attention_bias": False, "tie_word_embeddings": True}),
    ("gpt_neox", {"rope_parameters": ROPE | {"partial_rotary_factor": 1.0}, "num_hidden_layers": 11}),
]


@pytest.mark.parametrize(("name", "config"), CONFIGS, ids=str)
def test_config(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    family = FAMILIES[name]
    case = decoders.case(family.model, family.made(**config), 15, family.attention)
    if config.get("num_experts_per_tok") == 1:  # one expert's share is 1, whatever the router says of it
        case = replace(case, unseen=re.compile(r".*\.route\.gate\.weight"))
    check(case, tmp_path)


ACTS = [
    (n, act) for n, f in FAMILIES.items() if n != "llama" for act in tables.activations(f"{n}.hf", f.acts)
]


@pytest.mark.long
@pytest.mark.parametrize(("name", "act"), ACTS, ids=str)
def test_activation(name: str, act: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    check(decoders.case(family.model, family.made(**{family.acts: act}), 15, family.attention), tmp_path)


@pytest.mark.parametrize("name", ["mixtral", "gpt_neox"])
def test_other_names_of_the_same_tensors(name: str, tmp_path: Path) -> None:
    """What transformers holds in memory, saved as it stands."""

    def save(model: Any, folder: Path) -> None:
        model.config.save_pretrained(folder)
        save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})

    family = FAMILIES[name]
    case = decoders.case(family.model, family.made(), 15)
    dialect = "stacked" if name == "mixtral" else "hf"
    check(replace(case, save=save, same_file=name == "mixtral", dialect=dialect), tmp_path)


def test_one_model_in_both_spellings(tmp_path: Path) -> None:
    """Experts one by one and stacked hold the same numbers."""
    family = FAMILIES["mixtral"]
    hf.save(hf.maker(family.model, family.made())(), tmp_path / "apart")
    model = runtime.load(tmp_path / "apart")
    runtime.export(model, tmp_path / "stacked", to="stacked")
    keys = load_file(tmp_path / "stacked" / "model.safetensors")
    assert keys["model.layers.1.mlp.experts.gate_up_proj"].shape == (5, 88, 24)
    again = runtime.load(tmp_path / "stacked").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_router_logits(tmp_path: Path) -> None:
    family = FAMILIES["mixtral"]
    reference: Any = hf.maker(family.model, family.made())().eval()
    hf.save(reference, tmp_path)
    model: Any = runtime.load(tmp_path)
    found: list[torch.Tensor] = []
    for layer in model.h:
        layer.mlp.route.gate.register_forward_hook(lambda module, given, y: found.append(y))
    tokens = torch.arange(14).view(2, 7)
    with torch.no_grad():
        model(tokens)
        expected = reference(input_ids=tokens, output_router_logits=True).router_logits
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("mixtral", {"output_router_logits": True}, "`output_router_logits` is true"),
    ("gemma2", {"use_bidirectional_attention": True}, "`use_bidirectional_attention` is true"),
    ("mistral", {"attention_bias": True}, "`attention_bias` is true"),
    (
        "qwen2",
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 2.0}},
        "`rope_parameters.rope_type` is",
    ),
    ("gpt_neox", {"hidden_act": "mish"}, "`hidden_act` is"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "config", "message"), REFUSED, ids=str)
def test_what_the_spec_cannot_express_is_named(
    name: str, config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = FAMILIES[name].made(**config)
    model.architectures = [FAMILIES[name].model.__name__]
    model.save_pretrained(tmp_path)
    with pytest.raises(CompileError, match=message):
        compiler.compile(tmp_path)


PUBLISHED: list[tuple[str, Any, Any]] = [
    ("mistral", MistralForCausalLM, MistralConfig()),
    ("mixtral", MixtralForCausalLM, MixtralConfig()),
    ("qwen2", Qwen2ForCausalLM, Qwen2Config(
        vocab_size=152064, hidden_size=3584, num_hidden_layers=28, num_attention_heads=28,
        num_key_value_heads=4, intermediate_size=18944,
    )),
    ("qwen2:2.5-0.5b", Qwen2ForCausalLM, Qwen2Config(
        hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        intermediate_size=4864, tie_word_embeddings=True,
    )),
    ("qwen3", Qwen3ForCausalLM, Qwen3Config(
        num_hidden_layers=36, num_key_value_heads=8, intermediate_size=12288
    )),
    ("qwen3:0.6b", Qwen3ForCausalLM, Qwen3Config(
        hidden_size=1024, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8,
        intermediate_size=3072, tie_word_embeddings=True,
    )),
    ("gemma2", Gemma2ForCausalLM, Gemma2Config()),
    ("gemma2:9b", Gemma2ForCausalLM, Gemma2Config(
        hidden_size=3584, num_hidden_layers=42, num_attention_heads=16, num_key_value_heads=8,
        intermediate_size=14336,
    )),
    ("gpt_neox", GPTNeoXForCausalLM, GPTNeoXConfig()),
    ("gpt_neox:pythia-160m", GPTNeoXForCausalLM, GPTNeoXConfig(
        vocab_size=50304, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
        intermediate_size=3072,
    )),
]  # fmt: skip


@pytest.mark.parametrize(("source", "kind", "config"), PUBLISHED, ids=[p[0] for p in PUBLISHED])
def test_published_sizes(source: str, kind: Any, config: Any) -> None:
    """As many parameters as transformers has."""
    with torch.device("meta"):
        reference: nn.Module = hf.maker(kind, config, "eager")()
    ours = compiler.build(source, device="meta")
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in reference.parameters())
