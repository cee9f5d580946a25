"""Full-size models have as many parameters as those of transformers and timm, and as published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import transformers as hf
from torch import nn

import compiler
from compiler.cli.catalog import catalog
from compiler.weights.config_write import write_config
from compiler.weights.library import Library

DEBERTA: dict[str, Any] = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "position_buckets": 256, "relative_attention": True, "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm", "share_att_key": True,
}  # fmt: skip
WIDE: dict[str, Any] = {**DEBERTA, "hidden_size": 1536, "intermediate_size": 6144, "num_attention_heads": 24}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "bert_classifier": lambda: hf.BertForSequenceClassification(hf.BertConfig()),
    "bert_tagger": lambda: hf.BertForTokenClassification(hf.BertConfig()),
    "roberta": lambda: hf.RobertaModel(hf.RobertaConfig(max_position_embeddings=514, type_vocab_size=1)),
    "roberta_mlm": lambda: hf.RobertaForMaskedLM(
        hf.RobertaConfig(max_position_embeddings=514, type_vocab_size=1)
    ),
    "distilbert": lambda: hf.DistilBertModel(hf.DistilBertConfig()),
    "distilbert_mlm": lambda: hf.DistilBertForMaskedLM(hf.DistilBertConfig()),
    "albert:xxlarge": lambda: hf.AlbertModel(hf.AlbertConfig()),
    "albert_mlm:xxlarge": lambda: hf.AlbertForMaskedLM(hf.AlbertConfig()),
    "deberta_v3_classifier": lambda: hf.DebertaV2ForSequenceClassification(hf.DebertaV2Config(**DEBERTA)),
    "deberta_v3:v2-xlarge": lambda: hf.DebertaV2Model(
        hf.DebertaV2Config(**WIDE | {"num_hidden_layers": 24, "conv_kernel_size": 3})
    ),
    "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(num_labels=1000)),
    "vit_encoder": lambda: hf.ViTModel(hf.ViTConfig()),
    "vit:huge-14": lambda: timm.create_model("vit_huge_patch14_224", num_classes=1000),
    "vit:tiny": lambda: timm.create_model("vit_tiny_patch16_224"),
    "vit:base-384": lambda: timm.create_model("vit_base_patch16_384"),
    "vit:large-32": lambda: timm.create_model("vit_large_patch32_224", num_classes=1000),
    "vit_gap": lambda: timm.create_model(
        "vit_base_patch16_224", class_token=False, global_pool="avg", fc_norm=False
    ),
    "vit_gap:tiny": lambda: timm.create_model(
        "vit_tiny_patch16_224", class_token=False, global_pool="avg", fc_norm=False
    ),
    "vit_gap:small": lambda: timm.create_model(
        "vit_small_patch16_224", class_token=False, global_pool="avg", fc_norm=False
    ),
    "vit_gap:large": lambda: timm.create_model(
        "vit_large_patch16_224", class_token=False, global_pool="avg", fc_norm=False
    ),
    "vit:small": lambda: timm.create_model("vit_small_patch16_224"),
    "vit:large": lambda: timm.create_model("vit_large_patch16_224"),
    "vit:base-32": lambda: timm.create_model("vit_base_patch32_224"),
    "vit_mae": lambda: hf.ViTMAEForPreTraining(hf.ViTMAEConfig()),
    "vit_mae_encoder": lambda: hf.ViTMAEModel(hf.ViTMAEConfig()),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(image_size=518)),
    "dinov2:giant": lambda: hf.Dinov2Model(
        hf.Dinov2Config(
            image_size=518,
            hidden_size=1536,
            num_hidden_layers=40,
            num_attention_heads=24,
            use_swiglu_ffn=True,
        )
    ),
    "dinov2_registers": lambda: hf.Dinov2WithRegistersModel(
        hf.Dinov2WithRegistersConfig(image_size=518, patch_size=14)
    ),
    "dinov2_classifier": lambda: hf.Dinov2ForImageClassification(
        hf.Dinov2Config(image_size=518, num_labels=1000, use_mask_token=False)
    ),
    "siglip": lambda: hf.SiglipModel(hf.SiglipConfig()),
}


#: They hold no config of transformers.
NO_CONFIG = ("liteclip", "mlm", "mlm:wiki", "transformer", "translation", "unetr")
#: What transformers counts beside what we do.
BESIDE: dict[str, Callable[[Any], int]] = {
    "bart": lambda p: -p["vocab"],  # a bias of the logits, a buffer of theirs
    "marian": lambda p: 2 * p["context"] * p["dim"] - p["vocab"],  # and two tables of sinusoids
    "t5": lambda p: 0 if p["tied"] else -p["vocab"] * p["dim"],  # a head of its own once a file brings it
}


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("source", MODELS)
def test_as_many_as_theirs(source: str) -> None:
    with torch.device("meta"):
        reference = MODELS[source]()
    assert count(compiler.build(source, device="meta")) == count(reference)


#: As their authors and the pages of their checkpoints give them.
FACTS = {
    "simple_vit:pico": 1_440_744, "simple_vit:base": 86_530_024, "simple_mae:small": 5_936_640,
    "deberta_v3_classifier": 184_423_682, "vit": 86_567_656, "albert": 11_683_584, "siglip": 203_155_970,
    "clip_vitb32": 151_277_313, "clip_vitb32:vitb16": 149_620_737, "clip_vitb32:vitl14": 427_616_513,
    "gpt2": 124_439_808, "gpt2:medium": 354_823_168, "gpt2:large": 774_030_080, "gpt2:xl": 1_557_611_200,
    "bert": 109_482_240, "bert:large": 335_141_888, "roberta": 124_645_632, "roberta:large": 355_359_744,
    "t5": 76_961_152, "t5:base": 247_577_856, "t5:large": 783_150_080, "t5:v1-small": 60_506_624,
    "t5:v1-base": 222_903_552, "whisper:tiny.en": 37_760_256, "whisper:base": 72_593_920,
    "whisper:small": 241_734_912, "whisper:medium": 763_857_920, "whisper:large-v3": 1_543_490_560,
    "llama:2-7b": 6_738_415_616, "llama:2-70b": 68_976_648_192, "llama:3-8b": 8_030_261_248,
    "llama:3-70b": 70_553_706_496, "llama:3.1-405b": 405_853_388_800, "llama:3.2-1b": 1_235_814_400,
    "llama:smollm2-135m": 134_515_008, "mistral": 7_241_732_096, "mistral:v0.3": 7_248_023_552,
    "mixtral": 46_702_792_704, "mixtral:8x22b": 140_630_071_296, "qwen2": 7_615_616_512,
    "qwen2:2.5-0.5b": 494_032_768, "qwen2:2.5-1.5b": 1_543_714_304, "qwen2:2.5-3b": 3_085_938_688,
    "qwen2:2.5-72b": 72_706_203_648, "qwen3": 8_190_735_360, "qwen3:0.6b": 596_049_920,
    "qwen3:4b": 4_022_468_096, "qwen3:14b": 14_768_307_200, "qwen3:32b": 32_762_123_264,
    "gemma2": 2_614_341_888, "gemma2:9b": 9_241_705_984, "gemma2:27b": 27_227_128_320,
    "gpt_neox": 20_554_567_680, "gpt_neox:pythia-70m": 70_426_624, "gpt_neox:pythia-1b": 1_011_781_632,
    "gpt_neox:pythia-6.9b": 6_857_302_016, "unetr": 43_886_819,
}  # fmt: skip


@pytest.mark.parametrize("source", FACTS)
def test_published_counts(source: str) -> None:
    assert sum(p.numel for p in compiler.compile(source).table.parameters) == FACTS[source]


ROWS = [row.name for row in catalog()[0]]
READ = [name for name in ROWS if not name.startswith(("starter", "simple", "char", "convnext", "vit_gap"))]


@pytest.mark.long
@pytest.mark.parametrize("source", [name for name in READ if name not in NO_CONFIG])
def test_the_config_that_we_write_makes_as_many(source: str) -> None:
    """Of every row of the list that transformers has, but for what it keeps beside its parameters."""
    table = compiler.compile(source).table
    (map,) = [m for m in Library.standard().candidates(table.spec, table.parents) if m.dialect == "hf"]
    config = write_config(map, table)
    kind = getattr(hf, config["architectures"][0])
    with torch.device("meta"):
        theirs = kind._from_config(kind.config_class(**config))
    ours = sum(p.numel for p in table.parameters)
    beside = BESIDE.get(table.spec, lambda values: 0)(table.values)
    assert ours + beside == count(theirs)
