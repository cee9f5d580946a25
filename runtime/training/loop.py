"""The loop: steps, evaluations, checkpoints. What it depends on is `State`; batches follow from the step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runtime.checkpoint.staging import Staging
from runtime.parallel.world import World
from runtime.training import generations
from runtime.training.batches import training_batches
from runtime.training.data.common import Data, Example
from runtime.training.evaluate import Measuring, measure
from runtime.training.metrics import METRICS
from runtime.training.order import Epochs
from runtime.training.publish import Publisher
from runtime.training.recipe import Recipe
from runtime.training.report import Report, Row
from runtime.training.signals import Stop, Stopped
from runtime.training.state import State
from runtime.training.step import Trained, train_step


@dataclass
class Loop:
    """One run of a recipe, from where its state is."""

    recipe: Recipe
    folder: Path
    data: Data
    trained: Trained
    state: State
    publisher: Publisher
    report: Report
    world: World

    def run(self) -> None:
        """Train to the end. Raises Stopped on request, NotFinite before a step that would spoil it."""
        train, progress = self.recipe.file.train, self.state.progress
        part = train.batch // train.accumulate
        start, every = progress.step * train.batch, self.recipe.file.evaluate.every
        epochs = Epochs(len(self.data.train), self.recipe.file.seed, train.batch, self.data.lengths)
        batches = training_batches(self.data, epochs, part, start, train.workers, self.world.share)
        with Stop() as stop:
            if progress.due:
                self._look(stop)
            while not self._finished():
                began = time.perf_counter()
                parts = [next(batches) for _ in range(train.accumulate)]
                waited = time.perf_counter() - began
                rate = float(self.state.schedule.get_last_lr()[0])
                loss, norm = train_step(self.trained, self.state.optimizer, parts, train.clip, self.world)
                self.state.schedule.step()
                progress.step += 1
                progress.due = progress.step == train.steps or progress.step % every == 0
                seconds = time.perf_counter() - began
                progress.seconds += seconds
                ours, unit = _amount(parts)
                [amount] = self.world.total([ours])
                row = Row(progress.step, loss, rate, norm, seconds, waited / seconds, amount / seconds, unit)
                self.world.once(partial(self.report.step, row))
                self._look(stop)

    def _look(self, stop: Stop) -> None:
        """What happens between two steps. An evaluation that is cut short is done when the run goes on."""
        progress = self.state.progress
        try:
            if progress.due:
                self._evaluate(stop)
            self._heed(stop)
        except Stopped:
            self.save()
            raise
        if self._finished() or progress.step % self.recipe.file.checkpoint.every == 0:
            self.save()

    def _heed(self, stop: Stop) -> None:
        """Raises Stopped, on all processes, where one of them was asked to end."""
        asked = self.world.most(stop.asked or 0)
        if asked:
            raise Stopped(asked, self.state.progress.step)

    def _finished(self) -> bool:
        patience, progress = self.recipe.file.evaluate.patience, self.state.progress
        done = progress.step >= self.recipe.file.train.steps
        return done or (patience is not None and progress.stale >= patience)

    def _evaluate(self, stop: Stop) -> None:
        file, progress = self.recipe.file, self.state.progress
        began = time.perf_counter()
        how, heed = Measuring.of(file), partial(self._heed, stop)
        found = measure(self.trained, self.data, self.data.valid, how, self.world, heed)
        progress.due = False
        progress.seconds += time.perf_counter() - began
        value = found[file.evaluate.best]
        if progress.best is None or _better(file.evaluate.best, value, progress.best):
            progress.best, progress.best_step, progress.stale = value, progress.step, 0
            self.publisher.publish(self.folder, progress.step)
        else:
            progress.stale += 1
        best = progress.best_step == progress.step
        self.world.once(lambda: self.report.evaluation(progress.step, found, best=best))

    def save(self) -> None:
        """Commit a generation of the whole state; older ones go once it stands."""
        step = self.state.progress.step

        def write(staging: Staging) -> None:
            self.state.write(staging)
            self.world.once(lambda: self.publisher.describe(staging))

        generations.commit(self.folder, "last", step, self.state.nbytes(), write, self.world)
        self.world.once(lambda: generations.prune(self.folder, "last", self.recipe.file.checkpoint.keep))


def _better(metric: str, new: float, old: float) -> bool:
    return new > old if METRICS[metric].up else new < old


def _amount(batches: list[Example]) -> tuple[int, str]:
    """How much a step reads, in tokens where there are any."""
    counts = [batch["tokens"].numel() for batch in batches if "tokens" in batch]
    if counts:
        return sum(counts), "tokens"
    return sum(len(next(iter(batch.values()))) for batch in batches), "examples"
