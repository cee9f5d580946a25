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
from runtime.tasks.transcribe import transcribe
from runtime.tasks.translate import translate
from runtime.tasks.zero_shot import zero_shot
from tests.tasks.tokenizers import SPECIAL, WORDS, save_tokenizer
from tests.unit.images.samples import SIZES, picture

TEXTS = ["a good film", "the dog in the house on the tree"]
LAYERS = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
ENCODER = dict(**LAYERS, vocab_size=len(WORDS))
VISION = dict(**LAYERS, image_size=32, patch_size=8)
PHOTOS = [picture(*size) for size in SIZES[:3]]


def prepared(
    kind: Any, config: Any, folder: Path, extra: Any = None, spread: float = 0.2
) -> tuple[Any, Opened]:
    """A model of transformers with values in every tensor, and the same folder opened for tasks.

    extra: what else belongs into the folder.
    """
    torch.manual_seed(0)
    model = kind(config).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point() and tensor.dim() > 0:
            tensor.add_(torch.randn_like(tensor) * spread)
    model.tie_weights()
    model.save_pretrained(folder)
    if extra is not None:
        extra.save_pretrained(folder)
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
    sizes = dict(d_model=24, d_kv=8, num_heads=3, d_ff=40, num_layers=2)
    config = hf.T5Config(
        **sizes, vocab_size=len(WORDS), feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        pad_token_id=0, eos_token_id=3, decoder_start_token_id=2,
    )  # fmt: skip
    tokenizer = save_tokenizer(tmp_path)
    theirs, ours = prepared(hf.T5ForConditionalGeneration, config, tmp_path, spread=1.0)
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    for beams in (1, 3):
        wanted = theirs.generate(**encoded, max_new_tokens=12, num_beams=beams, do_sample=False)
        found = translate(ours, TEXTS, choice=Choice(max_new_tokens=12, num_beams=beams))
        assert found == generate_texts(ours, TEXTS, Choice(max_new_tokens=12, num_beams=beams))
        assert [w.text for w in found] == tokenizer.batch_decode(wanted, skip_special_tokens=True)
        assert found[0].text != found[1].text  # what is read matters
    encoded["decoder_input_ids"] = torch.tensor([[WORDS.index("tree")]] * 2)
    wanted = theirs.generate(**encoded, max_new_tokens=12, num_beams=1, do_sample=False)
    found = translate(ours, TEXTS, language="tree", choice=Choice(max_new_tokens=12))
    assert [w.text for w in found] == tokenizer.batch_decode(wanted[:, 2:], skip_special_tokens=True)


def test_speech_of_several_languages_is_written_down(tmp_path: Path) -> None:
    """The language is guessed as transformers guesses it; one that is named, and English, are obeyed."""
    names = "start en hi te translate transcribe notimestamps".split()
    speech = [f"<|{name}|>" for name in names]
    tokenizer = save_tokenizer(tmp_path, speech)
    id = {token: tokenizer.convert_tokens_to_ids(token) for token in speech}
    sizes = dict(d_model=24, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=40, decoder_ffn_dim=36)
    heads = dict(encoder_attention_heads=3, decoder_attention_heads=4, num_mel_bins=8)
    ids = dict(pad_token_id=3, bos_token_id=3, eos_token_id=3, decoder_start_token_id=id["<|start|>"])
    positions = dict(max_source_positions=20, max_target_positions=32)
    config = hf.WhisperConfig(**sizes, **heads, **ids, **positions, vocab_size=len(WORDS) + len(speech))
    generation = hf.GenerationConfig(
        **ids,
        is_multilingual=True,
        lang_to_id={token: id[token] for token in speech[1:4]},
        task_to_id={task: id[f"<|{task}|>"] for task in ("transcribe", "translate")},
        no_timestamps_token_id=id["<|notimestamps|>"],
        suppress_tokens=[*range(len(SPECIAL)), WORDS.index("cat"), *id.values()],
        begin_suppress_tokens=[WORDS.index("dog")],
    )
    theirs, ours = prepared(hf.WhisperForConditionalGeneration, config, tmp_path, generation, spread=1.0)
    theirs.generation_config = generation
    torch.manual_seed(3)
    samples = torch.randn(5000)
    features = ours.sound(samples)
    choice, texts = Choice(max_new_tokens=12), set()
    for language, english in ((None, False), ("te", False), ("te", True)):
        task = "translate" if english else "transcribe"
        wanted = theirs.generate(features, language=language, task=task, max_new_tokens=12, do_sample=False)
        found = transcribe(ours, samples, language=language, english=english, choice=choice)
        texts.add(found.text)
        assert found.text == tokenizer.decode(wanted[0], skip_special_tokens=True)
        assert found.language == (language or names[int(theirs.detect_language(features)) - len(WORDS)])
    assert len(texts) > 1  # what is said matters
