"""plan: how a training run would lie on devices, without any."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_json, add_settings, add_verb, settings
from compiler.report.units import exact, nbytes
from runtime.cli.arguments import positive

if TYPE_CHECKING:
    from compiler.parallel.memory import Bytes
    from runtime.planning import Plan


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "plan", "where weights, gradients and optimizer would lie on many devices")
    parser.add_argument(
        "source",
        metavar="RECIPE",
        help="a recipe's name or path; a spec's, for a training by AdamW in float32",
    )
    parser.add_argument(
        "--world", metavar="N", type=positive, help="ranks in all (default: as many as share a layer)"
    )
    parser.add_argument(
        "--tp", metavar="N", type=positive, help="ranks that share each layer (default: the recipe's)"
    )
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print mesh, placement and bytes."""
    from runtime.planning import plan

    found = plan(options.source, world=options.world, tp=options.tp, set=settings(options))
    print(json.dumps(_data(found), indent=2) if options.json else "\n".join(_lines(found)))
    return 0


def _data(plan: Plan) -> dict[str, object]:
    load = plan.load
    return {
        "name": plan.name,
        "world": plan.mesh.world,
        "mesh": asdict(plan.mesh),
        "styles": dict(plan.placement.styles),
        "whole": dict(plan.placement.whole),
        "units": list(plan.placement.units),
        "bytes": {
            "split": asdict(load.split),
            "whole": asdict(load.whole),
            "total": load.total.total,
            "unit": load.unit,
            "rest": load.rest,
        },
    }


def _lines(plan: Plan) -> Iterator[str]:
    mesh, placement, load = plan.mesh, plan.placement, plan.load
    yield f"{plan.name} on {mesh.world} ranks: {mesh.data} share the data, {mesh.tensor} share each layer"
    yield ""
    width = max(map(len, (*placement.styles, *placement.whole, "everything else")))
    for module, style in placement.styles.items():
        yield f"  {module:<{width}}  {style}"
    for module, why in placement.whole.items():
        yield f"  {module:<{width}}  replicate  ({why})"
    yield f"  {'everything else':<{width}}  replicate"
    yield ""
    yield f"gathered one at a time: {', '.join(placement.units) or 'the whole model'}"
    yield ""
    yield _row("bytes of a rank", "parameters", "gradients", "optimizer", "total")
    for name, found in (("split", load.split), ("whole", load.whole), ("together", load.total)):
        yield _row(name, *_numbers(found))
    yield ""
    yield f"a rank keeps {nbytes(load.total.total)}; while a step runs, also activations, and of weights that"
    yield f"lie gathered {nbytes(load.unit)} for the largest unit and {nbytes(load.rest)} for what is in none"


def _numbers(found: Bytes) -> list[str]:
    return [exact(n) for n in (found.parameters, found.gradients, found.optimizer, found.total)]


def _row(name: str, *cells: str) -> str:
    return f"  {name:<16}" + "".join(f"{cell:>18}" for cell in cells)
