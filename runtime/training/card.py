"""The model card of a run: what was trained on what, how it compares with the baselines, how to use it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import yaml

from compiler.version import VERSION
from runtime.training.finals import Shown
from runtime.training.metrics import Figures
from runtime.training.recipe import Recipe
from runtime.training.report import clock
from runtime.training.state import Progress


@dataclass(frozen=True)
class Facts:
    """What a card tells. waiting: the share of time spent waiting for data.

    best: the figures of the best checkpoint; baselines: those of simple rules.

    exported: why the model is not in the Hugging Face layout, or empty. shown: what there is to see of it.
    """

    task: str
    parameters: int
    trained: int
    examples: int
    held_out: int
    progress: Progress
    waiting: float
    best: Figures
    baselines: Mapping[str, Figures]
    exported: str
    shown: Mapping[str, Shown]


def environment(processes: int, device: torch.device) -> dict[str, object]:
    """What the numbers of a run depend on beside the recipe. device: that it is computed on."""
    return {
        "blockwright": VERSION,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
    }


def card(recipe: Recipe, facts: Facts, made_in: Mapping[str, object]) -> str:
    """README.md of a run folder."""
    front = {"library_name": "blockwright", "tags": [recipe.file.model.spec], "pipeline_tag": facts.task}
    progress = facts.progress
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {recipe.name}",
        recipe.file.summary or "",
        f"{facts.parameters:,} parameters, {facts.trained:,} of them trained, on {facts.examples:,} "
        f"examples; {facts.held_out:,} were held out. {progress.step:,} of {recipe.file.train.steps:,} "
        f"steps, {clock(progress.seconds)} in all; the best checkpoint is of step {progress.best_step:,}. "
        f"{facts.waiting:.1%} of the steps' time went into waiting for data.",
        "## Results on the held-out part",
        table(facts.best, facts.baselines),
        "![loss](curve.svg)",
        *(_shown(name, found) for name, found in facts.shown.items()),
        "## Use",
        _use(recipe, facts),
        "## How it was made",
        "`python -m runtime train recipe.yaml` repeats it; on the same machine, bit for bit.",
        f"```yaml\n{recipe.resolved()}```",
        "\n".join(f"- {name}: {value}" for name, value in made_in.items()),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def table(best: Figures, baselines: Mapping[str, Figures]) -> str:
    """One row for the model and one for each baseline, one column for each metric."""
    rows = [["", *best], ["this model", *(_figure(v) for v in best.values())]]
    rows += [[name, *(_figure(found.get(m)) for m in best)] for name, found in baselines.items()]
    rows.insert(1, ["---"] + ["---:"] * len(best))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(name: str, found: Shown) -> str:
    picture = f"![{name}]({name}.png)\n\n" if found.picture is not None else ""
    text = f"```text\n{found.text}\n```" if found.text else ""
    return f"### {name.capitalize()}\n\n{picture}{text}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _use(recipe: Recipe, facts: Facts) -> str:
    lines = ["```python", "import runtime", "", 'model = runtime.load("best")', "```"]
    text = "\n".join(lines)
    if recipe.file.model.adapters is not None:
        return text + "\n\n`best/adapter` holds the trained part in PEFT's format."
    if facts.exported:
        return text + f"\n\nThe tensors have this project's own names: {facts.exported}."
    return text + "\n\n`best` is also a folder that transformers opens."
