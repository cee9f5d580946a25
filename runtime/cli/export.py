"""export: a model as a checkpoint folder of another project."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from compiler.cli.arguments import Verbs, add_json, add_source, add_verb, settings
from runtime.cli.arguments import add_checkpoint, add_weights, dtype_of, warn_untrained, weights_of


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "export", "write a model as a checkpoint folder of another project")
    add_source(parser)
    add_weights(parser)
    add_checkpoint(parser)
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="the folder to write")
    parser.add_argument("--to", metavar="DIALECT", default="hf", help="whose names and config (default: hf)")
    parser.add_argument("--force", action="store_true", help="overwrite files whatever they hold")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, write, and say what was written."""
    import runtime

    model = runtime.load(
        options.source,
        weights=weights_of(options),
        dialect=options.dialect,
        weightmap=options.map,
        set=settings(options),
        dtype=dtype_of(options),
    )
    written = runtime.export(model, options.output, to=options.to, force=options.force)
    warn_untrained(options)
    if options.json:
        print(
            json.dumps({"files": [str(path) for path in written], "untrained": weights_of(options) is None})
        )
    else:
        print("\n".join(f"wrote {path}" for path in written))
    return 0
