"""What must hold between a recipe, its data and its model before anything is trained or written."""

from __future__ import annotations

from collections.abc import Callable

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from runtime.training.baselines import BASELINES
from runtime.training.finals import FINALS
from runtime.training.given import Given
from runtime.training.metrics import METRICS
from runtime.training.recipe import Recipe


def check_fit(recipe: Recipe, given: Given) -> None:
    """Raises CompileError where the data does not fit the spec, or something measured does not fit either."""
    diagnostics = Diagnostics()
    _check_inputs(recipe, given, diagnostics)
    _check_reads(recipe, given, diagnostics)
    diagnostics.check()
    _check_tables(recipe, given, diagnostics)
    diagnostics.check()


def _reads(recipe: Recipe) -> set[str]:
    """What the loss and the metrics need of the model and of a batch."""
    return {*recipe.loss.needs(), *(n for m in recipe.file.evaluate.metrics for n in METRICS[m].needs)}


def _check_inputs(recipe: Recipe, given: Given, diagnostics: Diagnostics) -> None:
    """What the spec reads is there, and what was asked for is read."""
    inputs, batch = given.program.typed.graph.root.inputs, given.batch
    for port in inputs:
        if not port.maybe and port.default is None and port.name not in batch:
            message = f"the spec reads `{port.name}`, which the data does not give"
            cure = did_you_mean(port.name, batch)
            diagnostics.error("missing-input", message, recipe.span("model.spec"), help=cure)
    read = {port.name for port in inputs} | _reads(recipe)
    for name in recipe.data.asked:
        if name not in read:
            message = f"nothing reads `{name}`"
            cure = did_you_mean(name, read - set(batch)) or "leave it out"
            diagnostics.error("unused-input", message, recipe.span(f"data.arrays.{name}"), help=cure)


def _check_reads(recipe: Recipe, given: Given, diagnostics: Diagnostics) -> None:
    """What the loss and the metrics read is an output of the spec, or in the batch."""
    alone, span = "loss" in recipe.file.train.optimize, recipe.span("model.spec")
    outputs, absent = {"loss"} if alone else given.outputs, given.absent()
    for name in sorted(_reads(recipe)):
        if name in given.batch:
            continue
        if name in outputs:
            if name in absent:
                message = f"the spec gives `{name}` from `{absent[name]}`, which the data does not give"
                cure = did_you_mean(absent[name], given.batch)
                diagnostics.error("missing-input", message, span, help=cure)
        elif alone and name in given.outputs:
            message = f"something reads `{name}`, and with `optimize: [loss]` there is only the loss"
            diagnostics.error("conflict", message, recipe.span("train.optimize"), help="leave it out")
        else:
            known = {*outputs, *given.batch}
            cure = "add a `loss` section" if name == "loss" else did_you_mean(name, known)
            message = f"`{name}` is neither an output of the spec nor in the data"
            diagnostics.error("unknown-port", message, span, help=cure)


def _check_tables(recipe: Recipe, given: Given, diagnostics: Diagnostics) -> None:
    """The loss and each figure can be had of this data and this model."""
    if why := recipe.loss.why_not(given):
        diagnostics.error("bad-value", f"`{recipe.loss.kind}` {why}", recipe.span("loss"))
    evaluate = recipe.file.evaluate
    figures: list[tuple[str, str, Callable[[Given], str]]]
    figures = [("metrics", name, METRICS[name].why_not) for name in evaluate.metrics]
    figures += [("baselines", name, BASELINES[name].why_not) for name in evaluate.baselines]
    figures += [("final", name, FINALS[name].why_not) for name in evaluate.final]
    for field, name, why_not in figures:
        if why := why_not(given):
            span = recipe.span(f"evaluate.{field}")
            diagnostics.error("bad-value", f"`{name}` {why}", span, help="leave it out")
