"""train and evaluate: a recipe and a run folder, from the first step or from the last that was saved."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import torch

from compiler.diagnostics.diagnostic import CompileError, fail
from compiler.ir.program import Program
from compiler.parallel.placement import Placement, place
from runtime.checkpoint.staging import write_whole
from runtime.loading import load
from runtime.parallel.world import ALONE, World, joined
from runtime.training import generations
from runtime.training.baselines import BASELINES
from runtime.training.batches import held_out_batches
from runtime.training.card import Facts, card, environment
from runtime.training.checks import check_fit
from runtime.training.curve import draw
from runtime.training.data.common import Data
from runtime.training.devices import check_device, recipe_here
from runtime.training.evaluate import Measuring, measure
from runtime.training.finals import FINALS, Shown
from runtime.training.fingerprint import DATA, check_data, fingerprint
from runtime.training.folder import ENVIRONMENT, RECIPE, changes, check_folder, keep, locked
from runtime.training.generations import Generation
from runtime.training.given import Given
from runtime.training.loop import Loop
from runtime.training.metrics import Figures
from runtime.training.model import compile_model, fill, make_model, make_trained, parameter_counts, settings
from runtime.training.publish import Publisher, why_not_exported
from runtime.training.recipe import Recipe, read_recipe
from runtime.training.report import Report, read_metrics
from runtime.training.state import Progress, State, read_weights
from runtime.training.step import NotFinite, Trained

CARD, CURVE = "README.md", "curve.svg"


def train(
    source: str | Path,
    out: str | Path | None = None,
    *,
    set: Mapping[str, Any] | None = None,
    smoke: bool = False,
    resume: bool = False,
    log: TextIO | None = None,
) -> Path:
    """Train by a recipe; the run folder, by default `runs/NAME`.

    source: a recipe's name or path. set: fields to override, by path: {"optimizer.lr": 3e-4}.
    smoke: shrink it to seconds. resume: go on from the last checkpoint, exactly as if never interrupted.
    Raises CompileError for what is wrong with the recipe, its data or its spec, before anything is written;
    Stopped when SIGTERM or Ctrl-C ended the run, its state saved.
    """
    with joined() as world, ExitStack() as stack:
        recipe = world.together(lambda: read_recipe(source, set, smoke=smoke))
        world.together(lambda: check_device(recipe, world))
        world.arrange(recipe.parallel.tp, recipe.file.train.device, recipe.span("parallel.tp"))
        folder = Path(out) if out is not None else Path("runs") / recipe.name
        world.once(lambda: check_folder(folder, recipe, resume))
        run = _open(recipe, world)
        if resume:
            cure = "bring the data back as it was, or begin anew with another --out"
            world.once(lambda: check_data(folder, run.data, recipe.span("data"), cure))
        out_stream = log or sys.stdout
        report = Report(folder, recipe.file.train.steps, tuple(run.metrics), out_stream)
        world.once(lambda: stack.enter_context(locked(folder)))
        world.once(lambda: keep(folder / RECIPE, recipe.resolved()))
        if resume:
            _resume(folder, run, out_stream)
        progress = run.state.progress
        world.once(lambda: report.rewind(progress.step, due=progress.due))
        world.once(lambda: _announce(folder, run, out_stream))
        try:
            _loop(folder, run, report)
        finally:
            with suppress(CompileError):  # what ended the loop is what to tell; the end draws it again
                if world.first:
                    _picture(folder, recipe, {})
        if world.first:
            _finish(folder, run)
    return folder


def evaluate(
    folder: str | Path, *, checkpoint: str = "best", batches: int | None = None, device: str | None = None
) -> Figures:
    """The figures of a run's checkpoint (`best` or `last`) on its held-out part. Raises CompileError.

    device: by default the recipe's where it is here, else the CPU.
    """
    folder = Path(folder)
    if batches is not None and batches < 1:
        raise fail("usage", f"`batches` is a whole number from 1, not {batches}", None)
    if not (folder / RECIPE).is_file():
        raise fail("not-found", f"`{folder}` is no run folder: it has no {RECIPE}", None)
    recipe = recipe_here(folder / RECIPE, device)
    if not (folder / checkpoint).is_dir():
        raise fail("not-found", f"the run in `{folder}` has no `{checkpoint}` yet", None)
    run = _open(recipe, weights=False)
    cure = f"bring the data back as it was; to measure on what is there now, remove `{folder / DATA}`"
    check_data(folder, run.data, recipe.span("data"), cure)
    if checkpoint == "last":
        read_weights(run.trained.model, folder / checkpoint)
    else:
        _fill(run, folder / checkpoint, recipe)
    how = replace(Measuring.of(recipe.file), batches=batches)
    return _best(run, how)[0]


@dataclass(frozen=True)
class Run:
    """What a recipe becomes."""

    recipe: Recipe
    data: Data
    program: Program
    trained: Trained
    state: State
    world: World

    @property
    def metrics(self) -> list[str]:
        """What is evaluated, the loss always."""
        return list(dict.fromkeys(["loss", *self.recipe.file.evaluate.metrics]))

    def environment(self) -> dict[str, object]:
        """What its numbers depend on beside the recipe."""
        return environment(self.world.size, self.trained.device)


def _open(recipe: Recipe, world: World = ALONE, *, weights: bool = True) -> Run:
    """Read the data, compile, fill and place the model. Raises CompileError."""
    file = recipe.file
    data, program = world.together(lambda: _compiled(recipe, world.share.of))
    torch.manual_seed(file.seed)
    device = world.device(file.train.device)

    def plan() -> Placement:
        return place(program.typed, tp=recipe.parallel.tp, plan=recipe.parallel.plan)

    model = world.place(lambda on: make_model(recipe, program, weights=weights, device=on), device, plan)
    trained = make_trained(recipe, program, model, device)
    optimizer = recipe.optimizer.of(model.parameters())
    state = State(model, optimizer, recipe.schedule.of(optimizer, file.train.steps), Progress(), world)
    torch.manual_seed(world.seed(file.seed))
    return Run(recipe, data, program, trained, state, world)


def _compiled(recipe: Recipe, shares: int) -> tuple[Data, Program]:
    """The data and the program that fits it. shares: into how many each part of a batch is cut."""
    train = recipe.file.train
    if train.batch % (train.accumulate * shares):
        parts = f"{train.accumulate} equal parts" + (f" for each of {shares} processes" if shares > 1 else "")
        message = f"a batch of {train.batch} cannot be cut into {parts}"
        raise fail("bad-value", message, recipe.span("train.accumulate"))
    data = recipe.data.read(recipe.tokenizer.start() if recipe.tokenizer is not None else None)
    if not len(data.train) or not len(data.valid):
        raise fail("bad-value", "nothing is left to train on, or held out", recipe.span("data"))
    program, example = compile_model(recipe, data), next(held_out_batches(data, data.valid, [range(1)]))
    check_fit(recipe, Given(data, example, program))
    return data, program


def _loop(folder: Path, run: Run, report: Report) -> None:
    """Train to the end. Raises CompileError where the numbers went bad."""
    recipe, model = run.recipe, run.trained.model
    publisher = Publisher(recipe, run.program, settings(recipe, run.data), model, run.data, run.world)
    try:
        Loop(recipe, folder, run.data, run.trained, run.state, publisher, report, run.world).run()
    except NotFinite as fault:
        raise fail(
            "not-finite",
            f"step {run.state.progress.step + 1}: {fault}",
            recipe.span("optimizer.lr"),
            help="begin anew with another --out and a smaller `lr`, a longer `warmup`, or `clip`; "
            "--resume repeats the steps since the last checkpoint as they were",
        ) from None


def _announce(folder: Path, run: Run, out: TextIO) -> None:
    """What is about to be trained, and where."""
    keep(folder / ENVIRONMENT, json.dumps(run.environment(), indent=2) + "\n")
    if not (folder / DATA).is_file():
        keep(folder / DATA, json.dumps(fingerprint(run.data), indent=2) + "\n")
    total, trained = parameter_counts(run.trained.model)
    print(
        f"{run.recipe.name}: {total:,} parameters, {trained:,} trained; {len(run.data.train):,} examples, "
        f"{len(run.data.valid):,} held out; into {folder}",
        file=out,
    )


def _resume(folder: Path, run: Run, out: TextIO) -> None:
    """Take the newest intact state, and say which damaged ones were passed over.

    Raises CompileError where all are damaged.
    """
    found, damaged = run.world.once(lambda: generations.newest(folder, "last"))
    if found is None and damaged:
        names = ", ".join(generation.path.name for generation in damaged)
        raise fail(
            "checkpoint-format",
            f"the run in `{folder}` cannot go on: every state that it saved is damaged ({names})",
            None,
            help="put one of them back from a copy, or begin anew with another --out",
        )
    if found is not None:
        run.state.read(found.path)
    run.world.once(lambda: _tell(folder, run, damaged, out))


def _tell(folder: Path, run: Run, damaged: list[Generation], out: TextIO) -> None:
    """Where a run goes on, and what is not as it was."""
    for generation in damaged:
        print(f"note: {generation.path} is damaged and was passed over", file=sys.stderr)
    step = run.state.progress.step
    if not step:
        print("nothing was saved yet: from the first step", file=out)
        return
    for change in changes(folder, run.environment()):
        print(f"note: {change}", file=sys.stderr)
    print(f"resumed after step {step}", file=out)


def _fill(run: Run, folder: Path, recipe: Recipe) -> None:
    """The weights of a published model in a run's own."""
    fill(run.trained.model, load(folder).state_dict(), recipe, whole=True)


def _picture(folder: Path, recipe: Recipe, baselines: Mapping[str, Figures]) -> None:
    rules = {name: found["loss"] for name, found in baselines.items() if "loss" in found}
    write_whole(folder / CURVE, draw(recipe.name, read_metrics(folder), rules).encode())


def _finish(folder: Path, run: Run) -> None:
    """Measure the best checkpoint and the baselines on all that was held out; write picture and card.

    Of several processes the first does it alone, with a model of its own.
    """
    recipe, file = run.recipe, run.recipe.file
    if run.world.size > 1:
        model = make_model(recipe, run.program, weights=False).to(run.trained.device)
        run = replace(run, trained=replace(run.trained, model=model))
    _fill(run, folder / "best", recipe)
    how = replace(Measuring.of(file), batches=file.evaluate.final_batches)
    best, shown = _best(run, how)
    held = how.numbers(len(run.data.final))
    baselines = {name: BASELINES[name].of(run.data, held) for name in file.evaluate.baselines}
    _picture(folder, recipe, baselines)
    for name, found in shown.items():
        if found.picture is not None:
            write_whole(folder / f"{name}.png", found.png())
    total, trained = parameter_counts(run.trained.model)
    facts = Facts(
        run.program.typed.graph.task,
        total,
        trained,
        len(run.data.train),
        len(run.data.final),
        run.state.progress,
        _waiting(folder),
        best,
        baselines,
        why_not_exported(run.program),
        shown,
    )
    write_whole(folder / CARD, card(recipe, facts, run.environment()).encode())


def _waiting(folder: Path) -> float:
    """The share of the steps' time that was spent waiting for data."""
    rows = [row for row in read_metrics(folder) if "seconds" in row]
    spent = sum(row["seconds"] for row in rows)
    return sum(row["seconds"] * row["data"] for row in rows) / spent if spent else 0.0


def _best(run: Run, how: Measuring) -> tuple[Figures, dict[str, Shown]]:
    """The figures of the weights at hand, those of `final` included, and what there is to see."""
    figures = measure(run.trained, run.data, run.data.final, how)
    shown = {name: FINALS[name].of(run.trained, run.data) for name in run.recipe.file.evaluate.final}
    for found in shown.values():
        figures |= found.figures
    return figures, shown
