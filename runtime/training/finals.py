"""What is done with the best checkpoint in the end: figures of more than one pass, and things to see."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import fail
from runtime.generation.api import generate
from runtime.training.data.captions import Captioned, spoken
from runtime.training.data.common import Data
from runtime.training.data.text import Windows
from runtime.training.step import Trained
from runtime.training.translations import translations

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPT: Final = 16  # tokens
TEMPERATURE: Final = 0.8
PICTURES: Final = 4
GREY: Final = 0.8  # of what was hidden, in units of `pixels`


@dataclass(frozen=True)
class Shown:
    """figures: for the table of results. text, picture: for the card."""

    figures: Mapping[str, float]
    text: str = ""
    picture: Image | None = None


def sample(trained: Trained, data: Data) -> Shown:
    """Text that continues the first tokens held out, drawn at temperature 0.8 up to the model's window."""
    held = data.final
    if not isinstance(held, Windows) or held.mask is not None or data.tokenizer is None:
        raise fail("bad-value", "a `sample` is drawn from models of running text", None)
    prompt = held.stream[:PROMPT].to(trained.device)[None]
    new = held.length - PROMPT
    tokens = generate(
        trained.model, prompt, max_new_tokens=max(1, new), temperature=TEMPERATURE, seed=0, eos=None
    )
    return Shown({}, data.tokenizer.text(tokens[0].tolist()))


def translation(trained: Trained, data: Data) -> Shown:
    """chrF and BLEU of greedy translations of what was held out, and some of them."""
    figures, text = translations(trained, data)
    return Shown(figures, text)


def reconstruction(trained: Trained, data: Data) -> Shown:
    """Pictures held out: what the model saw of them, how it redrew the rest, and as they are."""
    from runtime.tasks.drawing import side_by_side

    pixels = torch.stack([data.final.example(i, None)["pixels"] for i in range(PICTURES)])
    model: Any = trained.model.eval()
    with torch.no_grad(), torch.random.fork_rng([]):
        count = trained.run(trained.to_device({"pixels": pixels}))[1]["mask"].shape[1]
        noise = torch.rand(PICTURES, count, generator=torch.Generator().manual_seed(0))
        given = trained.to_device({"pixels": pixels, "noise": noise})
        hidden = model(**given).mask.cpu().bool()
        redrawn = model.reconstruct(**given).cpu()
    side = math.isqrt(count)
    scale = pixels.shape[-1] // side
    where = hidden.reshape(-1, 1, side, side).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    seen = pixels.masked_fill(where, GREY)
    rows = [[_drawn(p, data) for p in row] for row in zip(seen, redrawn, pixels, strict=True)]
    return Shown({}, picture=side_by_side(("masked", "redrawn", "original"), rows))


def zero_shot(trained: Trained, data: Data) -> Shown:
    """How often the category whose words are nearest to a picture is its own; none was a caption alone."""
    held = data.final
    if not isinstance(held, Captioned) or not data.labels or data.tokenizer is None:
        raise fail("bad-value", "`zero_shot` needs captions with a `category`", None)
    words = [spoken(name) for name in data.labels]
    rows = data.tokenizer.whole(words, data.facts["length"])
    texts = data.collate([{"tokens": torch.tensor(ids)} for ids in rows])
    given = {"tokens": texts["tokens"], "mask": texts["mask"]}
    model: Any = trained.model.eval()
    hits: Counter[str] = Counter()
    with torch.no_grad():
        for index, category in enumerate(held.categories):
            pixels = held.example(index, None)["pixels"][None]
            scores = model(**trained.to_device({"pixels": pixels, **given})).logits_per_image
            hits[category] += data.labels[int(scores.argmax())] == category
    counts = Counter(held.categories)
    lines = [f"{name}: {hits[name]} of {count}" for name, count in counts.most_common()]
    return Shown({"zero_shot": hits.total() / len(held)}, "\n".join(lines))


def _drawn(pixels: Tensor, data: Data) -> Image:
    """float[C, H, W] as a picture in colors."""
    from PIL import Image

    values = ((pixels * data.pixel_std + data.pixel_mean).clamp(0, 1) * 255).round().to(torch.uint8)
    height, width = pixels.shape[-2:]
    data_of = values.expand(3, height, width).permute(1, 2, 0).contiguous().numpy().tobytes()
    return Image.frombytes("RGB", (width, height), data_of)


FINALS: Final[Mapping[str, Callable[[Trained, Data], Shown]]] = MappingProxyType(
    {"sample": sample, "translation": translation, "reconstruction": reconstruction, "zero_shot": zero_shot}
)
