"""schema: the JSON Schema of spec files, for completion and checks in an editor."""

from __future__ import annotations

import argparse
import json

from compiler.cli.arguments import Verbs, add_verb


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "schema", "the JSON Schema of spec and block files, for editors")
    parser.add_argument("--weightmap", action="store_true", help="of weight maps instead")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one schema."""
    from compiler.schema.spec import spec_schema
    from compiler.schema.weightmap import weightmap_schema

    print(json.dumps(weightmap_schema() if options.weightmap else spec_schema(), indent=2))
    return 0
