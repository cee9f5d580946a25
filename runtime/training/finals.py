"""What is done with the best checkpoint in the end: figures of more than one pass, and things to see."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from compiler.diagnostics.diagnostic import CompileError
from runtime.generation.api import generate
from runtime.generation.interface import program_interface
from runtime.training.data.captions import Captioned, spoken
from runtime.training.data.common import Data
from runtime.training.data.text import Windows
from runtime.training.given import Entry, Given, why_not_installed
from runtime.training.metrics import Figures
from runtime.training.step import Trained
from runtime.training.translations import translations, why_not_translated

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPT: Final = 16  # tokens, or half a window
TEMPERATURE: Final = 0.8
PICTURES: Final = 4
GREY: Final = 0.8  # of what was hidden, in units of `pixels`


@dataclass(frozen=True)
class Shown:
    """figures: for the table of results. text, picture: for the card."""

    figures: Figures
    text: str = ""
    picture: Image | None = None

    def png(self) -> bytes:
        """The picture as a file's bytes."""
        assert self.picture is not None
        file = io.BytesIO()
        self.picture.save(file, format="PNG")
        return file.getvalue()


def sample(trained: Trained, data: Data) -> Shown:
    """Text that continues the first tokens held out, drawn at temperature 0.8 up to the model's window."""
    held = data.final
    assert isinstance(held, Windows) and data.tokenizer is not None
    given = min(PROMPT, held.length // 2)
    prompt, new = held.stream[:given].to(trained.device)[None], held.length - given
    tokens = generate(trained.model, prompt, max_new_tokens=new, temperature=TEMPERATURE, seed=0, eos=None)
    return Shown({}, data.tokenizer.text(tokens[0].tolist()))


def translation(trained: Trained, data: Data) -> Shown:
    """chrF and BLEU of greedy translations of what was held out, and some of them."""
    figures, text = translations(trained, data)
    return Shown(figures, text)


def reconstruction(trained: Trained, data: Data) -> Shown:
    """Pictures held out: what the model saw of them, how it redrew the rest, and as they are."""
    from runtime.tasks.drawing import side_by_side

    shown = min(PICTURES, len(data.final))
    pixels = torch.stack([data.final.example(i, None)["pixels"] for i in range(shown)])
    model: Any = trained.model.eval()
    with torch.no_grad(), torch.random.fork_rng([]):
        count = trained.run(trained.to_device({"pixels": pixels}))[1]["mask"].shape[1]
        noise = torch.rand(shown, count, generator=torch.Generator().manual_seed(0))
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
    """How often the category whose words are nearest to a picture is its own."""
    held = data.final
    assert isinstance(held, Captioned) and data.tokenizer is not None
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


def _writes_text(given: Given) -> str:
    held = given.data.final
    if not isinstance(held, Windows) or held.mask is not None or held.length < 2:
        return "needs running text in windows of two tokens or more, each predicted from those before it"
    return _generates(given)


def _translates(given: Given) -> str:
    return why_not_translated(given) or _generates(given)


def _generates(given: Given) -> str:
    try:
        program_interface(given.program)
    except CompileError as error:
        return f"needs a model that generates, and {error.diagnostics[0].message}"
    return ""


def _redraws(given: Given) -> str:
    """The model says what it hid, and is told what to hide."""
    methods = {method.name for method in given.program.methods}
    inputs = {port.name for port in given.program.typed.graph.root.inputs}
    fits = {"pixels", "noise"} <= inputs and "mask" in given.outputs and "reconstruct" in methods
    if not fits or "pixels" not in given.example:
        return "needs pictures, and a model that hides parts of them and redraws them"
    return why_not_installed("PIL", "Pillow", "vision")


def _names_pictures(given: Given) -> str:
    if not isinstance(given.data.final, Captioned) or not given.data.labels:
        return "needs captions with a `category`"
    return "" if "logits_per_image" in given.outputs else "needs a model with the output `logits_per_image`"


Finish = Callable[[Trained, Data], Shown]
FINALS: Final[Mapping[str, Entry[Finish]]] = MappingProxyType(
    {
        "sample": Entry(sample, _writes_text),
        "translation": Entry(translation, _translates),
        "reconstruction": Entry(reconstruction, _redraws),
        "zero_shot": Entry(zero_shot, _names_pictures),
    }
)
