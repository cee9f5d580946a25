"""Tasks at random weights give what transformers' own models give, every number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from runtime.tasks.classify import classify_images, classify_texts, tag_texts
from runtime.tasks.embed import embed_images, embed_texts
from runtime.tasks.fill_mask import fill_mask
from runtime.tasks.generate import Choice, generate_texts
from runtime.tasks.opened import Opened, open_model
from runtime.tasks.reconstruct import reconstruct
from runtime.tasks.translate import translate
from runtime.tasks.zero_shot import zero_shot
from tests.tasks.tokenizers import WORDS, save_tokenizer
from tests.unit.images.samples import SIZES, picture

TEXTS = ["a good film", "the dog in the house on the tree"]
LAYERS = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
ENCODER = dict(**LAYERS, vocab_size=len(WORDS))
VISION = dict(**LAYERS, image_size=32, patch_size=8)
PHOTOS = [picture(*size) for size in SIZES[:3]]


def prepared(kind: Any, config: Any, folder: Path, processor: Any = None) -> tuple[Any, Opened]:
    """A model of transformers with values in every tensor, and the same folder opened for tasks."""
    torch.manual_seed(0)
    model = kind(config).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point() and tensor.dim() > 0:
            tensor.add_(torch.randn_like(tensor) * 0.2)
    model.tie_weights()
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return kind.from_pretrained(folder).eval(), open_model(folder)


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.no_grad():
        yield


def scores(found: Any, count: int) -> Tensor:
    """The scores of a ranked answer in the order of the classes."""
    out = torch.full((count,), float("nan"))
    for one in found:
        out[one.index] = one.score
    return out


@pytest.mark.parametrize("problem", [None, "multi_label_classification", "regression"])
def test_texts_are_classified(problem: str | None, tmp_path: Path) -> None:
    names = {i: f"kind {i}" for i in range(3)}
    config = hf.BertConfig(**ENCODER, id2label=names, problem_type=problem)
    tokenizer = save_tokenizer(tmp_path)
    theirs, ours = prepared(hf.BertForSequenceClassification, config, tmp_path)
    logits = theirs(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    wanted = {None: logits.softmax(-1), "regression": logits}.get(problem, logits.sigmoid())
    found = classify_texts(ours, TEXTS, top=3)
    torch.testing.assert_close(torch.stack([scores(row, 3) for row in found]), wanted)
    assert [row[0].name for row in found] == [names[int(row.argmax())] for row in wanted]
    pairs = theirs(**tokenizer(TEXTS, TEXTS[::-1], padding=True, return_tensors="pt")).logits
    first = classify_texts(ours, TEXTS, pair=TEXTS[::-1], top=1)
    assert [row[0].index for row in first] == pairs.argmax(-1).tolist()


def test_tokens_are_tagged(tmp_path: Path) -> None:
    tokenizer = save_tokenizer(tmp_path)
    config = hf.BertConfig(**ENCODER, id2label={i: f"tag {i}" for i in range(4)})
    theirs, ours = prepared(hf.BertForTokenClassification, config, tmp_path)
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    best, at = theirs(**encoded).logits.softmax(-1).max(-1)
    found = tag_texts(ours, TEXTS)
    for row, real in enumerate(encoded["attention_mask"].bool()):
        assert [t.tag.name for t in found[row]] == [f"tag {i}" for i in at[row][real].tolist()]
        torch.testing.assert_close(torch.tensor([t.tag.score for t in found[row]]), best[row][real])
    assert [t.token for t in found[0]] == ["[CLS]", *TEXTS[0].split(), "[SEP]"]


def test_masks_are_filled(tmp_path: Path) -> None:
    tokenizer = save_tokenizer(tmp_path)
    theirs, ours = prepared(hf.BertForMaskedLM, hf.BertConfig(**ENCODER), tmp_path)
    texts = ["a [MASK] film", "the dog in [MASK] house on [MASK] tree"]
    logits = theirs(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    hidden = tokenizer(texts, padding=True, return_tensors="pt")["input_ids"] == tokenizer.mask_token_id
    found = [guesses for filled in fill_mask(ours, texts, top=3) for guesses in filled.masks]
    wanted, ids = logits[hidden].softmax(-1).topk(3)
    torch.testing.assert_close(torch.tensor([[g.probability for g in row] for row in found]), wanted)
    assert [[g.token for g in row] for row in found] == [[WORDS[i] for i in row] for row in ids.tolist()]


@pytest.mark.parametrize("pooling", ["mean", "first", "pooled"])
def test_texts_are_embedded(pooling: str, tmp_path: Path) -> None:
    tokenizer = save_tokenizer(tmp_path)
    theirs, ours = prepared(hf.BertModel, hf.BertConfig(**ENCODER), tmp_path)
    rows = []
    for text in TEXTS:  # one by one: no padding to leave out
        out = theirs(**tokenizer([text], return_tensors="pt"))
        hidden = out.last_hidden_state
        rows.append({"mean": hidden.mean(1), "first": hidden[:, 0], "pooled": out.pooler_output}[pooling])
    torch.testing.assert_close(
        embed_texts(ours, TEXTS, pooling=pooling).vectors, nn.functional.normalize(torch.cat(rows))
    )


def test_images_are_classified_and_embedded(tmp_path: Path) -> None:
    config = hf.ViTConfig(**VISION, id2label={i: f"thing {i}" for i in range(7)})
    processor = hf.ViTImageProcessorPil(size={"height": 32, "width": 32})
    theirs, ours = prepared(hf.ViTForImageClassification, config, tmp_path, processor)
    pixels = processor(PHOTOS, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(ours.images(PHOTOS), pixels)
    wanted = theirs(pixel_values=pixels).logits.softmax(-1)
    found = classify_images(ours, ours.images(PHOTOS), top=7)
    torch.testing.assert_close(torch.stack([scores(row, 7) for row in found]), wanted)
    assert found[0][0].name == f"thing {int(wanted[0].argmax())}"
    pooled = theirs.vit(pixel_values=pixels).last_hidden_state[:, 0]
    torch.testing.assert_close(
        embed_images(ours, pixels).vectors, nn.functional.normalize(pooled), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_images_meet_texts(kind: str, tmp_path: Path) -> None:
    text = {**ENCODER, "max_position_embeddings": 9, "eos_token_id": 3}
    if kind == "clip":
        towers = [{**tower, "projection_dim": 20} for tower in (text, VISION)]
        config: Any = hf.CLIPConfig(text_config=towers[0], vision_config=towers[1], projection_dim=20)
        model: Any = hf.CLIPModel
    else:
        config = hf.SiglipConfig(text_config={**text, "projection_size": 24}, vision_config=VISION)
        model = hf.SiglipModel
    tokenizer = save_tokenizer(tmp_path)
    theirs, ours = prepared(model, config, tmp_path)
    torch.manual_seed(1)
    pixels, labels = torch.randn(2, 3, 32, 32), ["cat", "cup of coffee", "rocket"]
    texts = [f"a photo of a {label}" for label in labels]
    padding = {"padding": True} if kind == "clip" else {"padding": "max_length", "max_length": 9}
    encoded = tokenizer(texts, return_tensors="pt", **padding)
    mask = {"attention_mask": encoded["attention_mask"]} if kind == "clip" else {}
    logits = theirs(pixel_values=pixels, input_ids=encoded["input_ids"], **mask).logits_per_image
    wanted = logits.softmax(-1) if kind == "clip" else logits.sigmoid()
    found = zero_shot(ours, pixels, labels, template="a photo of a {}")
    for row, answer in zip(wanted, found, strict=True):
        ordered, at = row.sort(descending=True)
        torch.testing.assert_close(torch.tensor([m.probability for m in answer]), ordered)
        assert [m.label for m in answer] == [labels[i] for i in at.tolist()]


@pytest.mark.parametrize("normalised", [False, True])
def test_images_are_redrawn(normalised: bool, tmp_path: Path) -> None:
    decoder = dict(decoder_hidden_size=20, decoder_num_hidden_layers=1, decoder_num_attention_heads=2)
    config = hf.ViTMAEConfig(**VISION, **decoder, decoder_intermediate_size=30, norm_pix_loss=normalised)
    theirs, ours = prepared(hf.ViTMAEForPreTraining, config, tmp_path)
    torch.manual_seed(1)
    pixels = torch.randn(3, 3, 32, 32)
    found = reconstruct(ours, pixels, seed=5)
    noise = torch.rand(3, 16, generator=torch.Generator().manual_seed(5))
    out = theirs(pixel_values=pixels, noise=noise)
    hidden = theirs.unpatchify(out.mask[..., None].expand(-1, -1, 8 * 8 * 3)).bool()
    assert found.hidden.equal(hidden[:, 0]) and float(hidden.float().mean()) == 0.75
    assert found.loss == pytest.approx(float(out.loss), rel=1e-5)
    drawn = out.logits
    if normalised:  # each patch is redrawn up to its own mean and scale
        goal = theirs.patchify(pixels)
        drawn = drawn * (goal.var(-1, keepdim=True) + 1e-6).sqrt() + goal.mean(-1, keepdim=True)
    wanted = torch.where(hidden, theirs.unpatchify(drawn), pixels)
    torch.testing.assert_close(found.redrawn, wanted)
    error = (wanted - pixels).square()[hidden].mean()
    assert found.error == pytest.approx(float(error), rel=1e-5)
    assert not reconstruct(ours, pixels, seed=6).hidden.equal(found.hidden)


def test_texts_are_translated(tmp_path: Path) -> None:
    sizes = dict(d_model=24, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=40, decoder_ffn_dim=36)
    heads = dict(encoder_attention_heads=3, decoder_attention_heads=4)
    config = hf.BartConfig(
        **sizes, **heads, vocab_size=len(WORDS), max_position_embeddings=40,
        pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=3, forced_eos_token_id=3,
    )  # fmt: skip
    tokenizer = save_tokenizer(tmp_path)
    theirs, ours = prepared(hf.BartForConditionalGeneration, config, tmp_path)
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    for beams in (1, 3):
        wanted = theirs.generate(**encoded, max_new_tokens=12, num_beams=beams, do_sample=False)
        found = translate(ours, TEXTS, choice=Choice(max_new_tokens=12, num_beams=beams))
        assert found == generate_texts(ours, TEXTS, Choice(max_new_tokens=12, num_beams=beams))
        assert [w.text for w in found] == tokenizer.batch_decode(wanted, skip_special_tokens=True)
    encoded["decoder_input_ids"] = torch.tensor([[WORDS.index("tree")]] * 2)
    wanted = theirs.generate(**encoded, max_new_tokens=12, num_beams=1, do_sample=False)
    found = translate(ours, TEXTS, language="tree", choice=Choice(max_new_tokens=12))
    assert [w.text for w in found] == tokenizer.batch_decode(wanted[:, 2:], skip_special_tokens=True)
