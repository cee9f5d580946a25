"""weights plan: what loading a checkpoint would do, from the spec and the file's header alone."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.cli.arguments import Verbs, add_json, add_source, add_verb, settings

if TYPE_CHECKING:
    from compiler.weights.header import Header


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "weights", "questions about checkpoints")
    inner = parser.add_subparsers(metavar="VERB", required=True)
    plan = add_verb(
        inner, "plan", "how the tensors of a checkpoint become those of the model, before any is read"
    )
    add_source(plan)
    plan.add_argument(
        "checkpoint", metavar="CHECKPOINT", nargs="?", type=Path,
        help="a file, an index of shards, or a folder; left out where SPEC is one already",
    )  # fmt: skip
    plan.add_argument("--dialect", help="whose names the checkpoint uses (default: the map that covers it)")
    plan.add_argument("--map", metavar="FILE", help="a weight map of your own, or the name of one")
    add_json(plan)
    plan.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the plan, or every reason why there is none."""
    from compiler.passes.parameters import parameter_table
    from compiler.pipeline import typed_graph
    from compiler.report.weight_plan import Planned, plan_data, plan_text
    from compiler.weights.choose import choose
    from compiler.weights.library import Library
    from compiler.weights.plan import plan

    table, _ = parameter_table(typed_graph(options.source, set=settings(options)))
    library = Library.standard(_beside(options.source))
    checkpoint = options.checkpoint or Path(options.source)
    if options.map is not None:
        chosen = library.load(options.map)
        header = _header(checkpoint, chosen.unwrap)
    else:
        candidates = library.candidates(table.spec, table.parents)
        header = _header(checkpoint, tuple(name for m in candidates for name in m.unwrap))
        chosen = choose(library, table, header, options.dialect)
    planned = Planned(plan(chosen, table, header), chosen, header, table)
    print(
        json.dumps(plan_data(planned), indent=2) if options.json else plan_text(planned),
        end="\n" if options.json else "",
    )
    return 0


def _beside(source: str) -> list[Path]:
    """The maps beside a user's spec come before the packaged ones."""
    path = Path(source)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return [path.parent, path.parent.parent / "weightmaps"]
    return []


def _header(checkpoint: Path, unwrap: tuple[str, ...]) -> Header:
    from compiler.diagnostics.diagnostic import fail
    from compiler.weights.readers import read_header

    if not checkpoint.exists():
        raise fail(
            "not-found",
            f"there is no checkpoint `{checkpoint}`",
            None,
            help="give a file or folder after the spec",
        )
    return read_header(checkpoint, unwrap)
