"""The small CLIP: timm's image tower and transformers' text tower, joined here by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel

import compiler
from tests.parity.decoders import padded
from tests.parity.harness import Tensors, check
from tests.parity.test_convnext import SIZES, case, pixels, timm_model

TEXT = {
    "vocab_size": 61, "max_position_embeddings": 19, "type_vocab_size": 3, "hidden_size": 24,
    "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40,
}  # fmt: skip
OURS = {
    **SIZES, "vocab": 61, "context": 19, "types": 3, "dim": 24, "depth": 3, "heads": 4, "hidden": 40,
    "embed": 10,
}  # fmt: skip
LABELS = torch.tensor([2, 0, 3])  # the texts of three images among four


class Encoder(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone


class Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj, self.ln = nn.Linear(width, 10), nn.LayerNorm(10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x)
        return x + self.ln(F.gelu(x))


class Towers(nn.Module):
    """The published module's names around the two libraries' towers."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = Encoder(timm_model(classes=0))
        self.text_encoder = Encoder(BertModel(BertConfig(**TEXT), add_pooling_layer=False))
        self.img_projection, self.txt_projection = Head(28), Head(24)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))


def texts() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, which are real, and the sentence of each."""
    draw = torch.Generator().manual_seed(3)
    tokens, segments = (
        torch.randint(0, 61, (4, 13), generator=draw),
        torch.randint(0, 3, (4, 13), generator=draw),
    )
    return tokens, padded(4, 13, "right"), segments


def ask_theirs(model: Any) -> Tensors:
    tokens, mask, segments = texts()
    image = model.img_projection(model.image_encoder.backbone(pixels(model)))
    hidden = model.text_encoder.backbone(tokens, mask.long(), segments).last_hidden_state
    means = [rows[real].mean(0) for rows, real in zip(hidden, mask, strict=True)]
    text = model.txt_projection(torch.stack(means))
    v, t = F.normalize(image), F.normalize(text)
    scores = model.logit_scale.exp() * v @ t.T
    of_image = -scores.log_softmax(1)[range(3), LABELS]
    of_text = -scores.log_softmax(0)[range(3), LABELS]
    return {
        "logits_per_image": scores, "logits_per_text": scores.T, "image_embed": v, "text_embed": t,
        "loss": (of_image.mean() + of_text.mean()) / 2, "encode_image": image, "encode_text": text,
    }  # fmt: skip


def ask_ours(model: Any) -> Tensors:
    tokens, mask, segments = texts()
    answers = model(pixels(model), tokens, mask, segments, LABELS)._asdict()
    image, text = model.encode_image(pixels(model)), model.encode_text(tokens, mask, segments)
    return {**answers, "encode_image": image, "encode_text": text}


def test_liteclip(tmp_path: Path) -> None:
    check(case(Towers, "liteclip", OURS, "original", ask_theirs, ask_ours), tmp_path)


def test_without_a_mask_every_token_is_real() -> None:
    model: Any = compiler.build("liteclip", set=OURS).eval()
    tokens, mask, _ = texts()
    every = torch.ones_like(mask)
    with torch.no_grad():
        assert torch.equal(model.encode_text(tokens), model.encode_text(tokens, every))
        assert model(pixels(model), tokens).loss is None


def test_size() -> None:
    """ConvNeXt-tiny without its classifier, BERT-mini without its pooler, and the heads."""
    heads = (768 * 256 + 256 + 512) + (256 * 256 + 256 + 512) + 1
    with torch.device("meta"):
        mini = BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)
        text = sum(p.numel() for p in BertModel(mini, add_pooling_layer=False).parameters())
    found = sum(p.numel for p in compiler.compile("liteclip").table.parameters)
    image = 28_589_128 - (768 * 1000 + 1000)
    assert found == 39_188_577 == image + text + heads
