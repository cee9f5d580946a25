"""No key of a config is ignored in silence: each is turned; ours says no, or answers as transformers does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from tests.families import test_encoder_decoder as seq2seq
from tests.parity import clip, decoders, encoders, images, test_clip
from tests.parity import test_bert_family as bert
from tests.parity import test_deberta as deberta
from tests.parity import test_dinov2 as dinov2
from tests.parity import test_gpt2 as gpt2
from tests.parity import test_llama as llama
from tests.parity import test_llama_kin as kin
from tests.parity import test_siglip as siglip
from tests.parity import test_vit as vit
from tests.parity import test_vit_mae as mae
from tests.parity.config_flips import Subject, fault, flips
from tests.parity.harness import Tensors


def decoder(kind: Any, config: Any, map: str, attention: str = "sdpa") -> Subject:
    asked = decoders.questions(97, 15)
    theirs, ours = partial(decoders.ask_theirs, asked=asked), partial(decoders.ask_ours, asked=asked)
    return Subject(kind, config, theirs, ours, map, attention)


def kindred(name: str, **more: Any) -> Subject:
    family = kin.FAMILIES[name]
    return decoder(family.model, family.made(**more), f"{name}.hf", family.attention)


def encoder(kind: Any, config: Any, names: dict[str, str], map: str) -> Subject:
    asked = encoders.questions(config.vocab_size, 9, getattr(config, "type_vocab_size", 0))
    theirs = partial(encoders.ask_theirs, asked=asked, names=names)
    return Subject(kind, config, theirs, partial(encoders.ask_ours, asked=asked, names=names), map)


def disentangled(kind: Any, names: dict[str, str], map: str) -> Subject:
    subject = encoder(kind, hf.DebertaV2Config(**deberta.SMALL), names, map)
    return replace(subject, attention="eager", lifted=deberta.without_casts)


def image(kind: Any, config: Any, names: Any, inputs: images.Inputs, map: str, **options: Any) -> Subject:
    case = images.case(kind, config, names, inputs, **options)
    return Subject(kind, config, case.theirs, case.ours, map)


def translator(name: str, map: str) -> Subject:
    """An encoder-decoder, asked for its logits and its loss."""
    model = seq2seq.CASES[name]()
    labels = torch.randint(5, 90, (3, 9), generator=torch.Generator().manual_seed(5))
    labels[2, 6:] = -100

    def ask(model: Any, mine: bool) -> Tensors:
        torch.manual_seed(5)
        theirs, ours = seq2seq._source(name)
        given = model(*ours, labels=labels) if mine else model(**theirs, labels=labels)
        return {"logits": given.logits, "loss": given.loss}

    return Subject(type(model), model.config, partial(ask, mine=False), partial(ask, mine=True), map)


def towers(kind: Any, config: Any, size: int, map: str) -> Subject:
    asked = clip.questions(size, 103, 7)
    return Subject(
        kind, config, partial(clip.ask_theirs, asked=asked), partial(clip.ask_ours, asked=asked), map
    )


BERT, ALBERT, DISTIL = hf.BertConfig(**bert.BERT), hf.AlbertConfig(**bert.ALBERT), bert.DISTILBERT
ROBERTA = hf.RobertaConfig(**bert.BERT | {"vocab_size": 7})
CLASSES = hf.BertConfig(**bert.BERT, num_labels=5)
TRUNK, HEAD = encoders.TRUNK, encoders.HEAD
HIDES = {"renamed": {"masked": "bool_masked_pos"}}
SIGLIP = hf.SiglipConfig(text_config=siglip.TEXT, vision_config=siglip.VISION)
ALONE = hf.ViTMAEConfig(**mae.SMALL | {"mask_ratio": 0.0})

SUBJECTS: dict[str, Callable[[], Subject]] = {
    "gpt2": lambda: decoder(hf.GPT2LMHeadModel, hf.GPT2Config(**gpt2.SMALL), "gpt2.hf"),
    **{name: partial(kindred, name) for name in kin.FAMILIES},
    "llama3": lambda: kindred("llama", rope_parameters=llama.SCALED),
    "qwen2-windowed": lambda: kindred("qwen2", **kin.WINDOWED, max_window_layers=1),
    "bert": lambda: encoder(hf.BertModel, BERT, TRUNK, "bert.hf"),
    "bert_mlm": lambda: encoder(hf.BertForMaskedLM, BERT, HEAD, "bert_mlm.hf"),
    "bert_classifier": lambda: encoder(
        hf.BertForSequenceClassification, CLASSES, HEAD, "bert_classifier.hf"
    ),
    "bert_tagger": lambda: encoder(hf.BertForTokenClassification, CLASSES, HEAD, "bert_tagger.hf"),
    "roberta": lambda: encoder(hf.RobertaModel, ROBERTA, TRUNK, "roberta.hf"),
    "roberta_mlm": lambda: encoder(hf.RobertaForMaskedLM, ROBERTA, HEAD, "roberta_mlm.hf"),
    "albert": lambda: encoder(hf.AlbertModel, ALBERT, TRUNK, "albert.hf"),
    "albert_mlm": lambda: encoder(hf.AlbertForMaskedLM, ALBERT, HEAD, "albert_mlm.hf"),
    "distilbert": lambda: encoder(
        hf.DistilBertModel, hf.DistilBertConfig(**DISTIL), bert.HIDDEN, "distilbert.hf"
    ),
    "distilbert_mlm": lambda: encoder(
        hf.DistilBertForMaskedLM, hf.DistilBertConfig(**DISTIL), HEAD, "distilbert_mlm.hf"
    ),
    "deberta": lambda: disentangled(hf.DebertaV2Model, deberta.HIDDEN, "deberta_v3.hf"),
    "deberta_classifier": lambda: disentangled(
        hf.DebertaV2ForSequenceClassification, HEAD, "deberta_v3_classifier.hf"
    ),
    "vit": lambda: image(
        hf.ViTForImageClassification, hf.ViTConfig(**vit.SMALL), vit.HEAD, vit.PIXELS, "vit.hf"
    ),
    "vit_encoder": lambda: image(
        hf.ViTModel, hf.ViTConfig(**vit.SMALL), vit.TRUNK, vit.PIXELS, "vit_encoder.hf"
    ),
    "vit_mae": lambda: image(
        hf.ViTMAEForPreTraining, hf.ViTMAEConfig(**mae.SMALL), mae.NAMES, mae.INPUTS, "vit_mae.hf"
    ),
    "vit_mae_encoder": lambda: image(
        hf.ViTMAEModel, ALONE, mae.HIDDEN, vit.PIXELS, "vit_mae_encoder.hf", noise=mae.SORTED
    ),
    "dinov2": lambda: image(
        hf.Dinov2Model, hf.Dinov2Config(**dinov2.SMALL), dinov2.NAMES, dinov2.HIDING, "dinov2.hf", **HIDES
    ),
    "dinov2_registers": lambda: image(
        hf.Dinov2WithRegistersModel, hf.Dinov2WithRegistersConfig(**dinov2.SMALL), dinov2.NAMES,
        dinov2.HIDING, "dinov2_registers.hf", **HIDES,
    ),
    "dinov2_classifier": lambda: image(
        hf.Dinov2ForImageClassification, hf.Dinov2Config(**dinov2.SMALL, use_mask_token=False),
        {"logits": "logits"}, dinov2.PIXELS, "dinov2_classifier.hf",
    ),
    **{name: partial(translator, name, f"{name.split('-')[0]}.hf") for name in seq2seq.CASES},
    "clip": lambda: towers(hf.CLIPModel, test_clip.small(), 24, "clip_vitb32.hf"),
    "siglip": lambda: towers(hf.SiglipModel, SIGLIP, 28, "siglip.hf"),
}  # fmt: skip


#: The encoder alone sees every patch, whatever share was hidden from it in pre-training.
MEANT = {("vit_mae_encoder", "mask_ratio")}


@pytest.mark.long
@pytest.mark.parametrize("name", SUBJECTS)
def test_no_key_is_ignored_in_silence(name: str, tmp_path: Path) -> None:
    subject = SUBJECTS[name]()
    turned = [(path, value) for path, value in flips(subject) if (name, path) not in MEANT]
    faults = {
        f"{path}: {value!r}": said
        for number, (path, value) in enumerate(turned)
        if (said := fault(subject, path, value, tmp_path / str(number)))
    }
    assert len(turned) > 60 and not faults


#: What is read, what is refused and what must be left out of account, one of each for every push.
FEW = [
    ("llama", "attention_bias", True), ("gemma2", "query_pre_attn_scalar", 14), ("whisper", "d_model", 72),
    ("t5-gated", "dense_act_fn", "relu"), ("deberta", "norm_rel_ebd", "none"), ("albert", "gap_size", 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "path", "value"), FEW)
def test_a_few_keys(name: str, path: str, value: Any, tmp_path: Path) -> None:
    assert fault(SUBJECTS[name](), path, value, tmp_path / "one") == ""
