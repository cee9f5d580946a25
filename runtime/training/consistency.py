"""What the settings of a recipe must be beside each other, whatever its data is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from runtime.training.baselines import BASELINES
from runtime.training.finals import FINALS
from runtime.training.metrics import METRICS

if TYPE_CHECKING:
    from runtime.training.recipe import Recipe


def check_names(recipe: Recipe, diagnostics: Diagnostics) -> None:
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


def check_effects(recipe: Recipe, diagnostics: Diagnostics) -> None:
    """Settings that would have no effect beside the others."""
    model, schedule, steps = recipe.file.model, recipe.schedule, recipe.file.train.steps
    if schedule.floor and schedule.kind == "constant":
        message = "a `constant` schedule has no `floor`: its rate does not fall"
        diagnostics.error("conflict", message, recipe.span("schedule.floor"), help="leave it out")
    if schedule.warmup >= steps:
        message = f"a warm-up of {schedule.warmup} steps does not end within {steps}"
        notes = (Note("here", recipe.span("train.steps")),)
        diagnostics.error("conflict", message, recipe.span("schedule.warmup"), notes=notes)
    written_null = "weights" in next(value for key, value in recipe.tree.items() if key == "model")
    for field in ("fresh", "unused"):
        if getattr(model, field) and model.weights is None and not written_null:
            message = f"`{field}` is about `weights`, and there are none"
            cure = "add `weights`; a null there says that the model begins from initial values"
            diagnostics.error("conflict", message, recipe.span(f"model.{field}"), help=cure)
    for field, why in recipe.data.idle().items():
        diagnostics.error("conflict", why, recipe.span(f"data.{field}"))
    if recipe.tokenizer is not None and not recipe.data.reads_text:
        message = f"data of the kind `{recipe.data.kind}` reads no text, and a tokenizer nothing else"
        diagnostics.error("conflict", message, recipe.span("tokenizer"), help="leave `tokenizer` out")
