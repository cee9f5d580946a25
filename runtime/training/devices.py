"""Where a recipe is computed: a device that this machine has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from compiler.diagnostics.diagnostic import fail
from runtime.parallel.world import ALONE, World
from runtime.training.recipe import Recipe, read_recipe

FIELD = "train.device"


def check_device(recipe: Recipe, world: World = ALONE) -> None:
    """Raises CompileError at `train.device` where this machine has no such device."""
    name = recipe.file.train.device
    if why := _why_not(lambda: world.device(name)):
        cure = "set `train.device`: `cpu`, or a device of this machine such as `cuda` or `mps`"
        raise fail("bad-value", f"nothing can be computed on `{name}`: {why}", recipe.span(FIELD), help=cure)


def recipe_here(path: Path, device: str | None) -> Recipe:
    """A run's recipe, to be computed on a device; by default where it was, or on the CPU if that is not here.
    Raises CompileError.
    """
    recipe = read_recipe(path, {} if device is None else {FIELD: device})
    name = recipe.file.train.device
    if device is None and _why_not(lambda: ALONE.device(name)):
        print(f"note: the run was on `{name}`, which is not here: measured on the CPU", file=sys.stderr)
        return read_recipe(path, {FIELD: "cpu"})
    check_device(recipe)
    return recipe


def _why_not(device: Callable[[], torch.device]) -> str:
    """Why there is no such device, in torch's words; empty where there is one."""
    try:
        found = torch.empty(0, device=device())
    except (RuntimeError, AssertionError, ImportError) as error:  # as torch was built, one or the other
        return str(error).partition("\n")[0]
    return "it holds no values" if found.is_meta else ""
