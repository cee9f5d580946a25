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


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("source", MODELS)
def test_as_many_as_theirs(source: str) -> None:
    with torch.device("meta"):
        reference = MODELS[source]()
    assert count(compiler.build(source, device="meta")) == count(reference)


FACTS = {
    "simple_vit:pico": 1_440_744,
    "simple_vit:base": 86_530_024,
    "deberta_v3_classifier": 184_423_682,
    "vit": 86_567_656,
    "albert": 11_683_584,
    "siglip": 203_155_970,
}


@pytest.mark.parametrize("source", FACTS)
def test_published_counts(source: str) -> None:
    assert count(compiler.build(source, device="meta")) == FACTS[source]
