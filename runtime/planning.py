"""How a training run would lie on devices, known without any: from a recipe, or from a spec alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from compiler.diagnostics.diagnostic import fail
from compiler.ir.program import Program
from compiler.parallel.memory import Load, Mesh, Training, load
from compiler.parallel.placement import Placement, place
from compiler.passes.parameters import parameter_table
from runtime.training.finding import is_recipe

MOMENTS: Final = 2  # that AdamW keeps


@dataclass(frozen=True)
class Plan:
    """What goes where: placement of modules, and bytes of the fullest rank."""

    name: str
    mesh: Mesh
    placement: Placement
    load: Load


def plan(
    source: str, *, world: int | None = None, tp: int | None = None, set: Mapping[str, Any] | None = None
) -> Plan:
    """The plan of a recipe, or of a spec trained by AdamW in float32.

    world: ranks in all, as many as share a layer if left out. tp: how many share each layer, by default what
    the recipe says. set: fields of the recipe, or params of the spec. Raises CompileError.
    """
    if is_recipe(source):
        return _of_recipe(source, world, tp, set)
    from compiler.pipeline import compile

    program = compile(source, set=set)
    mesh = mesh_of(world, tp or 1)
    placement = place(program.typed, tp=mesh.tensor)
    training = Training(_trained(program, ()), MOMENTS)
    return Plan(str(source), mesh, placement, load(program.stored, placement, mesh, training))


def mesh_of(world: int | None, tp: int) -> Mesh:
    """Ranks in rows that share the data, columns that share each layer. Raises CompileError."""
    world = world or tp
    if world % tp:
        fits = ", ".join(str(n) for n in range(1, world + 1) if world % n == 0)
        message = f"a world of {world} ranks is not divisible by tp = {tp}"
        raise fail("usage", message, None, help=f"choose a tp among {fits}")
    return Mesh(world // tp, tp)


def _of_recipe(source: str, world: int | None, tp: int | None, set: Mapping[str, Any] | None) -> Plan:
    from runtime.training.model import asks_for_data, compile_model
    from runtime.training.recipe import read_recipe

    recipe = read_recipe(source, {**(set or {}), **({"parallel.tp": tp} if tp else {})})
    mesh = mesh_of(world, recipe.parallel.tp)
    start = recipe.tokenizer.start() if recipe.tokenizer is not None else None
    program = compile_model(recipe, recipe.data.read(start) if asks_for_data(recipe) else None)
    placement = place(program.typed, tp=mesh.tensor, plan=recipe.parallel.plan)
    training = Training(_trained(program, recipe.file.model.freeze), recipe.optimizer.moments)
    return Plan(recipe.name, mesh, placement, load(program.stored, placement, mesh, training))


def _trained(program: Program, freeze: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a parameter gets gradients."""
    _, owners = parameter_table(program.typed)
    adapters = program.typed.graph.adapters
    added = {p.name for p in program.stored if p.adapter}

    def trained(name: str) -> bool:
        if not owners[name].weight.trainable or any(fnmatchcase(name, glob) for glob in freeze):
            return False
        return adapters is None or name in added or any(path.reaches(name) for path in adapters.train)

    return trained
