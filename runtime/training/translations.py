"""How well a model translates: greedy translations of what was held out, by sacrebleu's figures."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runtime.generation.api import generate
from runtime.training.data.common import Data
from runtime.training.data.pairs import Pair, Translations
from runtime.training.given import Given, why_not_installed
from runtime.training.metrics import Figures
from runtime.training.step import Trained

SENTENCES: Final = 500  # as many are translated, evenly spread over those held out
ALIKE: Final = 0.5  # the share of trigrams from which on two sentences are nearly the same
_BATCH: Final = 32
SHOWN: Final = 6


def translations(trained: Trained, data: Data) -> tuple[Figures, str]:
    """chrF and BLEU against what was held out, and some of the translations."""
    held = _held(data)
    chosen = _chosen(held)
    found: list[str] = []
    trained.model.eval()
    for start in range(0, len(chosen), _BATCH):
        found += _translated(trained, data, held, chosen[start : start + _BATCH])
    pairs = [held.pairs[i] for i in chosen]
    shown = [
        f"{p.source}\n  {p.language} {text}\n  reference: {p.target}"
        for p, text in zip(pairs, found, strict=True)
    ]
    step = max(1, len(shown) // SHOWN)
    return score(found, pairs, _most_alike(data, pairs)), "\n".join(shown[::step][:SHOWN])


def why_not_translated(given: Given) -> str:
    """Why there are no translations to measure, empty where there are."""
    if not isinstance(given.data.final, Translations):
        return "needs parallel text"
    return why_not_installed("sacrebleu", "sacrebleu", "train")


def nearest(data: Data, held: range) -> Figures:
    """The translation of the training sentence that shares most of its trigrams with the one at hand.

    Of the same sentences that `translations` takes, however many batches the model is measured on.
    """
    final = _held(data)
    pairs = [final.pairs[i] for i in _chosen(final)]
    alike = _most_alike(data, pairs)
    return score([one.target for one in alike], pairs, alike)


@dataclass(frozen=True)
class Alike:
    """The translation of a training sentence, and the share of trigrams that it has with another."""

    target: str
    share: float


def _most_alike(data: Data, pairs: Sequence[Pair]) -> list[Alike]:
    """For each sentence the one of its language in training with the largest share (Jaccard's index)."""
    train = data.train
    assert isinstance(train, Translations)
    grams = [_trigrams(p.source) for p in train.pairs]
    where: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, pair in enumerate(train.pairs):
        for gram in grams[number]:
            where[pair.language, gram].append(number)
    found = []
    for pair in pairs:
        own = _trigrams(pair.source)
        common = Counter(n for gram in own for n in where[pair.language, gram])
        shares = {n: count / len(own | grams[n]) for n, count in common.items()}
        best = max(shares, key=lambda n: (shares[n], -n), default=None)
        found.append(Alike("", 0.0) if best is None else Alike(train.pairs[best].target, shares[best]))
    return found


def score(found: Sequence[str], pairs: Sequence[Pair], alike: Sequence[Alike]) -> Figures:
    """chrF and BLEU: over all, for each language, and of those that nothing in training is like (`_new`)."""
    from sacrebleu import corpus_bleu, corpus_chrf

    parts = {"": [True] * len(pairs)}
    for language in sorted({p.language for p in pairs}):
        parts[f"_{language.strip('<>')}"] = [p.language == language for p in pairs]
    parts["_new"] = [one.share < ALIKE for one in alike]
    figures: Figures = {}
    for name, wanted in parts.items():
        rows = [(text, p.target) for text, p, w in zip(found, pairs, wanted, strict=True) if w]
        texts, references = [text for text, _ in rows], [[target for _, target in rows]]
        figures[f"chrf{name}"] = float(corpus_chrf(texts, references).score) if rows else math.nan
        figures[f"bleu{name}"] = float(corpus_bleu(texts, references).score) if rows else math.nan
    return figures


def _translated(trained: Trained, data: Data, held: Translations, chosen: Sequence[int]) -> list[str]:
    assert data.tokenizer is not None
    batch = trained.to_device(data.collate([held.example(i, None) for i in chosen]))
    tokens = generate(
        trained.model,
        batch["target"][:, :1],
        source=batch["source"],
        source_mask=batch["source_mask"],
        max_new_tokens=data.facts["length"] - 1,
        eos=held.ends.eos,
        pad=held.ends.pad,
    )
    return [data.tokenizer.text(_until(row, held.ends.eos)) for row in tokens[:, 1:].tolist()]


def _until(row: list[int], end: int) -> list[int]:
    return row[: row.index(end)] if end in row else row


def _held(data: Data) -> Translations:
    assert isinstance(data.final, Translations)
    return data.final


def _chosen(held: Translations) -> list[int]:
    count = min(SENTENCES, len(held))
    return [i * len(held) // count for i in range(count)]


def _trigrams(text: str) -> set[str]:
    padded = f"  {text.lower()} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}
