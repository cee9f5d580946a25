"""The model of a recipe: compiled with its settings, filled, and partly frozen."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compiler.backend.build import build
from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.program import Program
from compiler.passes.infer_shapes import infer_shapes
from compiler.passes.library import Library, spec_names
from compiler.passes.overrides import parse_overrides
from compiler.passes.resolve import resolve
from compiler.pipeline import locate
from compiler.pipeline import program as lowered
from compiler.syntax.yaml import Key, Located, Map, Seq
from runtime.loading import load
from runtime.training.data.common import Data, located
from runtime.training.recipe import Recipe
from runtime.training.step import Trained

FACT = "=data."
LABELS = "io.labels"


def compile_model(recipe: Recipe, data: Data | None) -> Program:
    """The program of a recipe's spec. data: where the recipe asks for its facts.

    Raises CompileError, with places in the spec and in the recipe.
    """
    model = recipe.file.model
    library = Library()
    name, variant, found = find(model.spec)
    spec = library.spec(name).spec
    assert spec is not None
    if model.adapters is not None:
        spec = spec.model_copy(update={"adapters": model.adapters})
    given = parse_overrides(found)
    given.update(settings(recipe, data))
    style = "local" if recipe.parallel.tp > 1 else "views"
    typed = infer_shapes(resolve(spec, library, variant, given))
    return lowered(typed, style, recipe.file.train.optimize)


def find(source: str) -> tuple[str | Path, str, dict[str, Any]]:
    """A recipe's `model.spec` as (spec, variant, params that a checkpoint sets).

    A name is a spec's first: a run folder that is called like its spec must not change what a recipe means.
    """
    name, _, variant = source.partition(":")
    return (name, variant, {}) if name in spec_names() else locate(source)


def asks_for_data(recipe: Recipe) -> bool:
    """Whether `model.set` takes facts of the data."""
    return any(_fact(value) for value in recipe.file.model.set.values())


def settings(recipe: Recipe, data: Data | None) -> Map:
    """`model.set`, with the facts of the data in place of `=data.NAME`.

    A model of the data's classes also gets their names, which an export writes, as the spec's `io.labels`.
    """
    facts = data.facts if data is not None else {}
    diagnostics = Diagnostics()
    out = Map()
    for key, value in recipe.file.model.set.items():
        out[key] = value
        fact = _fact(value)
        if not fact:
            continue
        if fact in facts:
            out[key] = Located(facts[fact], value.span, str(facts[fact]))
            if fact == "classes" and data is not None and _named(data):
                labels = Seq(Located(name, value.span, name, quoted=True) for name in data.labels)
                labels.span = value.span
                out.setdefault(Key(LABELS, value.span), labels)
        else:
            cure = did_you_mean(fact, facts)
            diagnostics.error("expr-name", f"the data has no `{fact}`", value.span, help=cure)
    diagnostics.check()
    return out


def _named(data: Data) -> bool:
    """Whether every class has a name; one that begins with `=` would be read as an expression."""
    named = len(data.labels) == data.facts.get("classes")
    return named and not any(name.startswith("=") for name in data.labels)


def _fact(value: object) -> str:
    """The fact of the data that a setting takes, "" for none."""
    text = str(value.value) if isinstance(value, Located) else ""
    return text.removeprefix(FACT) if text.startswith(FACT) else ""


def make_model(
    recipe: Recipe, program: Program, *, weights: bool = True, device: str | None = None
) -> nn.Module:
    """The module with its initial values, those of `model.weights` where they are given, in train mode.

    weights: whether to read them; not where others come at once. device: `meta`: without any values.

    Raises CompileError for tensors that are missing, left over or of another shape, and for globs that
    match nothing.
    """
    model = build(program, device=device)
    section = recipe.file.model
    if weights and section.weights is not None and device != "meta":
        path = located(section.weights, recipe.span("model.weights"), None)
        fill(model, load(path).state_dict(), recipe)
    diagnostics = Diagnostics()
    names = [name for name, _ in model.named_parameters()]
    for glob in section.freeze:
        matched = [name for name in names if fnmatchcase(name, glob)]
        for name in matched:
            model.get_parameter(name).requires_grad_(False)
        if not matched:
            diagnostics.error("bad-path", f"`{glob}` matches no parameter", recipe.span("model.freeze"))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        diagnostics.error("bad-value", "no parameter is left to train", recipe.span("model.freeze"))
    diagnostics.check()
    return model.train()


def fill(model: nn.Module, held: dict[str, Tensor], recipe: Recipe, *, whole: bool = False) -> None:
    """Copy the tensors of another module of the same names.

    The recipe's `fresh` and `unused` say what may differ; nothing may where the other is `whole`.
    """
    section = recipe.file.model
    fresh, unused = ((), ()) if whole else (section.fresh, section.unused)
    own = model.state_dict()
    diagnostics = Diagnostics()
    for field, globs, names in (("fresh", fresh, own), ("unused", unused, held)):
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in names):
                diagnostics.error("bad-path", f"`{glob}` matches no tensor", recipe.span(f"model.{field}"))
    additions = () if whole else ("*.lora_a", "*.lora_b")
    kept = {name for name in own if _matches(name, (*fresh, *additions))}
    span = recipe.span("model.weights")
    for name in sorted(own.keys() - held.keys() - kept):
        cure = "add it to `fresh` if it begins from initial values"
        diagnostics.error("key-missing", f"the checkpoint lacks `{name}`", span, help=cure)
    for name in sorted(held.keys() - own.keys()):
        if not _matches(name, unused):
            cure = "add it to `unused` if the model does without it"
            diagnostics.error("key-unexpected", f"the model has no `{name}`", span, help=cure)
    common = sorted((own.keys() & held.keys()) - kept)
    for name in common:
        if own[name].shape != held[name].shape:
            message = f"`{name}` is {list(held[name].shape)} in the checkpoint, {list(own[name].shape)} here"
            diagnostics.error("key-mismatch", message, span)
    diagnostics.check()
    for name in common:
        own[name].copy_(held[name])


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def make_trained(recipe: Recipe, program: Program, model: nn.Module, device: torch.device) -> Trained:
    """The model with what running it takes. device: where it is."""
    root, train = program.typed.graph.root, recipe.file.train
    return Trained(
        model,
        recipe.loss,
        frozenset(port.name for port in root.inputs),
        ("loss",) if "loss" in train.optimize else tuple(root.outputs),
        torch.bfloat16 if train.precision == "bfloat16" else torch.float32,
        device,
    )


def parameter_counts(model: nn.Module) -> tuple[int, int]:
    """All parameters, and those that are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)
