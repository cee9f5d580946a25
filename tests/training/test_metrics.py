"""Metrics, masks and baselines against libraries and against counting by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from monai.metrics import compute_dice

import compiler
from runtime.training import baselines
from runtime.training.data.common import IGNORED, Data
from runtime.training.data.text import Masking, Windows
from runtime.training.data.volumes import Volumes, VolumesSection
from runtime.training.metrics import METRICS, Metric, patches


def made(name: str, *batches: dict[str, torch.Tensor], **facts: int) -> Metric:
    empty = Windows(torch.arange(9), 2, None)
    metric = METRICS[name](Data(empty, empty, facts=facts, characters_per_token=2.5, pixel_std=0.5))
    for batch in batches:
        metric.take(*metric.given(batch.get("loss", torch.tensor(0.0)), batch, batch))
    return metric


def test_losses_weigh_what_they_count() -> None:
    labels = torch.tensor([[3, IGNORED, 4], [IGNORED, IGNORED, 1]])
    first = {"loss": torch.tensor(2.0), "labels": labels}
    second = {"loss": torch.tensor(5.0), "labels": labels[1:]}
    assert made("loss", first, second).value() == pytest.approx((3 * 2 + 5) / 4)
    assert made("bits_per_character", first, second).value() == pytest.approx(2.75 / math.log(2) / 2.5)
    assert made("perplexity", first, second).value() == pytest.approx(math.exp(2.75))


def test_accuracy() -> None:
    logits = F.one_hot(torch.tensor([[0, 2, 1], [1, 0, 2]]), 3).float()
    labels = torch.tensor([[0, 1, IGNORED], [1, 1, 2]])
    assert made("accuracy", {"logits": logits, "labels": labels}).value() == pytest.approx(3 / 5)


def test_accuracy_of_the_next_token() -> None:
    """Logits at a place are of the token after it, as the spec's own loss has it."""
    model = compiler.build("char_gpt", set=dict(vocab=7, context=9, dim=8, depth=1, heads=2)).eval()
    tokens = torch.randint(7, (4, 9), generator=torch.Generator().manual_seed(0))
    logits = model(tokens)
    expected = sum(int(logits[b, t].argmax() == tokens[b, t + 1]) for b in range(4) for t in range(8)) / 32
    metric = METRICS["accuracy"](Data(Windows(tokens[0], 3, None), Windows(tokens[0], 3, None), ahead=1))
    metric.take(*metric.given(torch.tensor(0.0), {"logits": logits}, {"labels": tokens}))
    assert metric.value() == expected


def test_dice_is_monai_s() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 3, 4, 5, 6), torch.randint(3, (1, 4, 5, 6))
    hot = [F.one_hot(x, 3).permute(0, 4, 1, 2, 3) for x in (logits.argmax(1), labels)]
    theirs = compute_dice(hot[0], hot[1], include_background=False)
    found = made("dice", {"logits": logits, "labels": labels}, classes=3).value()
    assert found == pytest.approx(float(theirs.mean()))


def test_psnr_is_that_of_the_hidden_patches() -> None:
    """The spec's own loss is the mean squared error of the same patches."""
    torch.manual_seed(0)
    sizes = dict(image=8, channels=2, patch=4, dim=16, depth=1, heads=2, dec_dim=8, dec_depth=1, dec_heads=2)
    model = compiler.build("vit_mae", set=sizes).eval()
    pixels = torch.rand(3, 2, 8, 8)
    with torch.no_grad():
        out = model(pixels)
    found = made("psnr", {"logits": out.logits, "mask": out.mask, "pixels": pixels}).value()
    assert found == pytest.approx(-10 * math.log10(float(out.loss) / 4), rel=1e-5)
    assert patches(pixels, 4)[1, 2, 5 * 2 + 1] == pixels[1, 1, 4 + 1, 1]


def test_recall() -> None:
    torch.manual_seed(0)
    images, texts = (F.normalize(torch.randn(40, 5), dim=1) for _ in range(2))
    batches = [{"image_embed": images[i : i + 16], "text_embed": texts[i : i + 16]} for i in (0, 16, 32)]
    for way, sim in (("image_to_text", images @ texts.T), ("text_to_image", texts @ images.T)):
        for best in (1, 5, 10):
            nearest = sim.topk(best, dim=1).indices
            hits = (nearest == torch.arange(40)[:, None]).any(1).float().mean()
            assert made(f"{way}_{best}", *batches).value() == pytest.approx(float(hits))


def test_recall_does_not_take_ties_for_hits() -> None:
    """What is equally near is found as often as by chance; here by trying every order of those alike."""
    alike = F.normalize(torch.ones(50, 4), dim=1)
    batch = {"image_embed": alike, "text_embed": alike}
    for best in (1, 5, 10):
        assert made(f"image_to_text_{best}", batch).value() == pytest.approx(best / 50)
    unknown = {"image_embed": alike * math.nan, "text_embed": alike}
    assert made("text_to_image_5", unknown).value() == pytest.approx(5 / 50)
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randint(3, (8, 2), generator=generator).float() for _ in range(2))
    for best in (1, 5):
        found = made(f"image_to_text_{best}", {"image_embed": images, "text_embed": texts}).value()
        orders = (torch.randperm(8, generator=generator) for _ in range(4000))
        hits = [
            (torch.argsort(-(images @ texts.T)[:, order], stable=True)[:, :best] == order.argsort()[:, None])
            .any(1)
            .float()
            .mean()
            for order in orders
        ]
        assert found == pytest.approx(float(torch.stack(hits).mean()), abs=0.01)


def test_masks_hide_what_bert_hides() -> None:
    tokens = torch.arange(5, 20_005) % 50 + 5
    example = Masking(0.15, 1000, 4)(tokens, torch.Generator().manual_seed(0))
    chosen = example["labels"] != IGNORED
    assert torch.equal(example["labels"][chosen], tokens[chosen])
    assert torch.equal(example["tokens"][~chosen], tokens[~chosen])
    hidden = example["tokens"][chosen]
    shares = (chosen.float().mean(), (hidden == 4).float().mean(), (hidden == tokens[chosen]).float().mean())
    assert [float(s) for s in shares] == pytest.approx([0.15, 0.8, 0.1], abs=0.02)


def test_counts_of_tokens_are_probabilities() -> None:
    torch.manual_seed(0)
    train, valid = torch.randint(4, (400,)), torch.randint(4, (50,))
    data = Data(Windows(train, 8, None), Windows(valid, 8, None), facts={"tokens": 5})
    for token in range(5):  # the probabilities of what may follow a token add up to one
        follow = baselines._pairs(train, torch.tensor([token] * 5), torch.arange(5), 5, 0.9)
        assert float(follow.neg().exp().sum()) == pytest.approx(1)
    counts = torch.bincount(train, minlength=5) + 1
    for held in (range(5), range(2)):  # the model is measured on all tokens but the first of each window
        tokens = [t for n in held for t in valid[8 * n + 1 : 8 * n + 8].tolist()]
        expected = -sum(math.log(counts[t] / 405) for t in tokens) / len(tokens)
        assert baselines.unigram(data, held) == {"loss": pytest.approx(expected)}
        assert baselines.bigram(data, held)["loss"] < 2


class Counted:
    """Pictures of one pixel whose labels are known without drawing them: 1 up to a number, then 2."""

    def __init__(self, size: int, ones: int) -> None:
        self.size, self.ones = size, ones

    def __len__(self) -> int:
        return self.size

    def example(self, index: int, rng: torch.Generator | None) -> dict[str, torch.Tensor]:
        label = 1 if index < self.ones else 2
        return {"pixels": torch.tensor([float(label)]), "labels": torch.tensor(label)}

    def sources(self) -> Iterator[str]:
        yield f"{self.ones} of {self.size}"


def test_baselines_read_all_that_is_asked_for() -> None:
    """Also behind the first 60,000, where the commonest label changes; and no more than what is asked for."""
    data = Data(Counted(61_500, 30_700), Counted(61_000, 60_500), facts={"classes": 3})
    assert baselines.majority(data, range(61_000)) == {"accuracy": 500 / 61_000}
    assert baselines.majority(data, range(60_600)) == {"accuracy": 100 / 60_600}
    mean = (30_700 + 2 * 30_800) / 61_500
    error = (60_500 * (1 - mean) ** 2 + 500 * (2 - mean) ** 2) / 61_000
    assert baselines.mean_picture(data, range(61_000))["psnr"] == pytest.approx(-10 * math.log10(error))
    few = Data(Counted(40, 20), Counted(2000, 1500), facts={"classes": 3})
    whole, part = baselines.linear(few, range(2000)), baselines.linear(few, range(1500, 1600))
    assert (whole["accuracy"], part["accuracy"]) == (1.0, 1.0) and whole["loss"] != part["loss"]
    assert baselines.chance(few, range(50))["image_to_text_5"] == 5 / 50


def test_the_majority_of_tokens_leaves_out_what_no_model_is_measured_on() -> None:
    stream = torch.tensor([3, 1, 1, 1] * 6)
    data = Data(Windows(stream, 4, None), Windows(stream, 4, None), facts={"tokens": 5}, ahead=1)
    assert baselines.majority(data, range(5)) == {"accuracy": 1.0}


def test_thresholds_of_volumes() -> None:
    """Against the nearest of the means, counted voxel by voxel."""
    section = VolumesSection.model_validate({"kind": "volumes", "count": 9, "size": 8})
    train, held = Volumes(section, 4, 5), Volumes(section, 0, 4)
    data = Data(train, held, facts={"classes": 3})
    rows = [train.example(i, None) for i in range(5)]
    bright = torch.cat([row["volume"].flatten() for row in rows])
    labels = torch.cat([row["labels"].flatten() for row in rows])
    means = torch.stack([bright[labels == kind].mean() for kind in range(3)])
    for numbers in (range(4), range(1)):
        chosen = [held.example(i, None) for i in numbers]
        seen, truth = (torch.stack([row[n].reshape(8, 8, 8) for row in chosen]) for n in ("volume", "labels"))
        hot = [
            F.one_hot(x, 3).permute(0, 4, 1, 2, 3)
            for x in ((seen[..., None] - means).abs().argmin(-1), truth)
        ]
        both, either = (hot[0] * hot[1]).sum((0, 2, 3, 4)), (hot[0] + hot[1]).sum((0, 2, 3, 4))
        expected = float((2 * both / either)[1:].mean())
        assert baselines.threshold(data, numbers)["dice"] == pytest.approx(expected)
