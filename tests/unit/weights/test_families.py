"""Every shipped map against the state dict of the real implementation: contents, coverage, way back."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

import pytest
import torch

os.environ.setdefault("USE_TF", "0")
import transformers as hf

from compiler.ir.parameters import ParameterTable
from compiler.weights.choose import choose
from compiler.weights.library import Library
from compiler.weights.load_plan import LoadPlan
from compiler.weights.plan import plan, plan_export
from runtime.load_plan import export_plan, load_plan
from tests.unit.weights import tables

Tensors = Mapping[str, torch.Tensor]
LIBRARY = Library.standard()


def scrambled(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The model's state dict, every tensor random: fresh zeros and ones would hide a swap."""
    torch.manual_seed(3)
    tied: dict[int, torch.Tensor] = {}
    state = model.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = tied.setdefault(tensor.data_ptr(), torch.randn(tensor.shape))
    return dict(state)


def loaded(name: str, table: ParameterTable, source: Tensors) -> tuple[LoadPlan, Tensors]:
    made = plan(LIBRARY.load(name), table, tables.header(source))
    module = tables.module(table)
    load_plan(made, source.__getitem__, module)
    state = module.state_dict()
    assert set(state) == {p.name for p in table.parameters}
    assert all(not tensor.is_meta and tensor.is_contiguous() for tensor in state.values())
    exported = dict(export_plan(made, module))
    kept = {key: tensor for key, tensor in source.items() if key not in {d.theirs for d in made.dropped}}
    assert_same(exported, kept)
    assert all(tensor.is_contiguous() for tensor in exported.values())
    return made, state


def assert_same(a: Tensors, b: Tensors) -> None:
    assert list(a) == list(b)
    for key in a:
        assert a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]), key


def assert_same_set(a: Tensors, b: Tensors) -> None:
    assert_same(dict(sorted(a.items())), dict(sorted(b.items())))


def fresh_export(name: str, table: ParameterTable, state: Tensors) -> Tensors:
    """Written as if no file had been loaded."""
    module = tables.module(table)
    for key, tensor in state.items():
        path, _, leaf = key.rpartition(".")
        setattr(module.get_submodule(path), leaf, torch.nn.Parameter(tensor))
    return dict(export_plan(plan_export(LIBRARY.load(name), table), module))


def gpt2_model() -> torch.nn.Module:
    config = hf.GPT2Config(vocab_size=11, n_positions=9, n_embd=6, n_layer=11, n_head=2, n_inner=26)
    return hf.GPT2LMHeadModel(config)


def test_gpt2() -> None:
    source = scrambled(gpt2_model())
    made, state = loaded("gpt2.hf", tables.gpt2(), source)
    for i in (0, 1, 10):
        fused = source[f"transformer.h.{i}.attn.c_attn.weight"]
        for part, name in enumerate("qkv"):
            assert torch.equal(state[f"h.{i}.attn.{name}.weight"], fused[:, part * 6 : part * 6 + 6].T)
            bias = source[f"transformer.h.{i}.attn.c_attn.bias"][part * 6 : part * 6 + 6]
            assert torch.equal(state[f"h.{i}.attn.{name}.bias"], bias)
        assert torch.equal(state[f"h.{i}.attn.o.weight"], source[f"transformer.h.{i}.attn.c_proj.weight"].T)
        assert torch.equal(state[f"h.{i}.mlp.up.weight"], source[f"transformer.h.{i}.mlp.c_fc.weight"].T)
    del source["lm_head.weight"]
    assert_same_set(fresh_export("gpt2.hf", tables.gpt2(), state), source)
    assert {"wte.weight", "h.10.ln_1.bias", "h.10.attn.v.bias"} <= set(made.aliased())


def test_gpt2_as_published() -> None:
    """No prefix, the mask's buffers, no head."""
    source = {
        k.removeprefix("transformer."): v for k, v in scrambled(gpt2_model()).items() if k != "lm_head.weight"
    }
    for i in range(11):
        source[f"h.{i}.attn.bias"] = torch.ones(1, 1, 9, 9, dtype=torch.uint8)
    made, _ = loaded("gpt2.hf", tables.gpt2(), source)
    assert {d.theirs for d in made.dropped} == {f"h.{i}.attn.bias" for i in range(11)}
    assert {d.reason for d in made.dropped} == {"the causal mask, which the model computes"}


@pytest.mark.parametrize("tied", [False, True])
def test_llama(tied: bool) -> None:
    config = hf.LlamaConfig(
        vocab_size=13, hidden_size=8, intermediate_size=10, num_hidden_layers=11, num_attention_heads=4,
        num_key_value_heads=2, head_dim=6, tie_word_embeddings=tied,
    )  # fmt: skip
    source = scrambled(hf.LlamaForCausalLM(config))
    table = tables.llama(tied=tied)
    made, state = loaded("llama.hf", table, source)
    assert torch.equal(state["h.10.attn.k.weight"], source["model.layers.10.self_attn.k_proj.weight"])
    assert torch.equal(state["h.1.ln_2.weight"], source["model.layers.1.post_attention_layernorm.weight"])
    assert len(made.aliased()) == len(table.parameters)
    fresh = fresh_export("llama.hf", table, state)
    assert set(source) - set(fresh) == ({"lm_head.weight"} if tied else set())


def bert_config() -> Any:
    return hf.BertConfig(
        vocab_size=11, hidden_size=8, num_hidden_layers=11, num_attention_heads=2, intermediate_size=10,
        max_position_embeddings=7,
    )  # fmt: skip


def test_bert() -> None:
    source = scrambled(hf.BertModel(bert_config()))
    made, state = loaded("bert.hf", tables.bert(), source)
    layer = "encoder.layer.10."
    assert torch.equal(state["h.10.ln_1.weight"], source[layer + "attention.output.LayerNorm.weight"])
    assert torch.equal(state["h.10.ln_2.bias"], source[layer + "output.LayerNorm.bias"])
    assert torch.equal(state["h.10.mlp.down.weight"], source[layer + "output.dense.weight"])
    assert_same_set(fresh_export("bert.hf", tables.bert(), state), source)
    whole = scrambled(hf.BertForPreTraining(bert_config()))
    made, _ = loaded("bert.hf", tables.bert(), whole)
    assert {d.theirs for d in made.dropped} == {key for key in whole if key.startswith("cls.")}


def test_bert_mlm() -> None:
    source = scrambled(hf.BertForMaskedLM(bert_config()))
    source["cls.predictions.decoder.bias"] = source["cls.predictions.bias"].clone()
    _, state = loaded("bert_mlm.hf", tables.bert(mlm=True), source)
    assert torch.equal(state["decoder_bias"], source["cls.predictions.bias"])
    source["bert.embeddings.position_ids"] = torch.arange(7)[None]
    for key in ("weight", "bias"):
        new, old = (
            f"bert.embeddings.LayerNorm.{key}",
            f"bert.embeddings.LayerNorm.{'gamma' if key == 'weight' else 'beta'}",
        )
        source[old] = source.pop(new)
    loaded("bert_mlm.hf", tables.bert(mlm=True), source)
    del source["cls.predictions.decoder.weight"], source["cls.predictions.bias"]
    loaded("bert_mlm.hf", tables.bert(mlm=True), source)


def clip_config() -> Any:
    text = dict(
        vocab_size=11, hidden_size=8, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=7, eos_token_id=10,
    )  # fmt: skip
    vision = dict(
        hidden_size=6,
        intermediate_size=24,
        num_hidden_layers=11,
        num_attention_heads=3,
        image_size=8,
        patch_size=4,
    )
    return hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=5)


def test_clip_hf() -> None:
    source = scrambled(hf.CLIPModel(clip_config()))
    _, state = loaded("clip_vitb32.hf", tables.clip(), source)
    assert torch.equal(
        state["text.h.2.attn.o.bias"], source["text_model.encoder.layers.2.self_attn.out_proj.bias"]
    )
    assert state["logit_scale"].shape == ()
    fresh = fresh_export("clip_vitb32.hf", tables.clip(), state)
    assert_same_set(fresh, source)


def test_clip_openai() -> None:
    open_clip = importlib.import_module("open_clip")

    model = open_clip.CLIP(
        embed_dim=5,
        vision_cfg=open_clip.CLIPVisionCfg(layers=11, width=6, head_width=2, patch_size=4, image_size=8),
        text_cfg=open_clip.CLIPTextCfg(context_length=7, vocab_size=11, width=8, heads=2, layers=3),
        quick_gelu=True,
    )
    source = scrambled(model)
    source["attn_mask"] = torch.zeros(7, 7)
    source["input_resolution"] = torch.tensor(8)
    _, state = loaded("clip_vitb32.openai", tables.clip(), source)
    fused = source["visual.transformer.resblocks.10.attn.in_proj_weight"]
    assert torch.equal(state["visual.h.10.attn.k.weight"], fused[6:12])
    assert torch.equal(state["v_proj.weight"], source["visual.proj"].T)
    assert torch.equal(state["t_proj.weight"], source["text_projection"].T)
    fresh = fresh_export("clip_vitb32.openai", tables.clip(), state)
    del source["attn_mask"], source["input_resolution"]
    assert_same_set(fresh, source)


def test_the_dialect_is_found_by_the_names() -> None:
    """Among all shipped maps of a spec, only one covers each file."""
    masked = scrambled(hf.BertForMaskedLM(bert_config()))
    antibody = masked | {
        f"cls.{head}.{part}": torch.zeros(2) for head in HEADS for part in ("weight", "bias")
    }
    antibody |= {f"bert.pooler.dense.{part}": torch.zeros(2) for part in ("weight", "bias")}
    clip = scrambled(hf.CLIPModel(clip_config()))
    openai = fresh_export(
        "clip_vitb32.openai", tables.clip(), loaded("clip_vitb32.hf", tables.clip(), clip)[1]
    )
    for table, source, name in (
        (tables.bert(mlm=True), masked, "bert_mlm.hf"),
        (tables.bert(mlm=True), antibody, "bert_mlm.antiberty"),
        (tables.clip(), clip, "clip_vitb32.hf"),
        (tables.clip(), openai, "clip_vitb32.openai"),
    ):
        assert choose(LIBRARY, table, tables.header(source)).name == name


HEADS = ("species", "chain", "graft")
