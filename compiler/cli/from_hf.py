"""from-hf: the spec of a checkpoint folder, to read or to go on from."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

from compiler.cli.arguments import Verbs, add_verb


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "from-hf", "the YAML spec of a checkpoint folder or file of a known family")
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="a folder with a config.json, or a GGUF file"
    )
    parser.add_argument("--name", help="what the spec is called (default: after the folder)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a spec that extends the family's, with every param that differs from it."""
    from compiler.ir.flow import text
    from compiler.pipeline import compile as compile_spec
    from compiler.weights.config import recognise

    found = recognise(options.folder)
    packaged = compile_spec(found.spec)
    default, own = packaged.table.values, packaged.typed.graph.io
    name = options.name or re.sub(r"\W+", "_", options.folder.resolve().stem).strip("_").lower()
    if not name[:1].isalpha() or name == found.spec:
        name = f"{found.spec}_{name}"
    compile_spec(
        found.spec, set={**found.set, **({"io": dict(found.io)} if found.io else {})}
    )  # what is printed is proved to compile
    lines = [
        f"spec: {name}",
        f"extends: {found.spec}",
        f"summary: {text('The checkpoint in ' + options.folder.name)}",
    ]
    changed = {
        k: v for k, v in found.set.items() if isinstance(v, dict) or k not in default or default[k] != v
    }
    if changed:
        lines.append("params:")
        lines += [f"  {key}: {_written(value, found.set)}" for key, value in changed.items()]
    told = {k: v for k, v in found.io.items() if v != _plain(own.get(k))}
    if told:
        lines.append(f"io: {{{', '.join(f'{k}: {_written(v, {})}' for k, v in told.items())}}}")
    print("\n".join(lines))
    return 0


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _written(value: object, params: Mapping[str, object]) -> str:
    """A param as YAML: a scalar, a list, or a block whose params name the spec's own that they repeat."""
    from compiler.ir.flow import flow, sequence

    if isinstance(value, list):
        return sequence(_written(item, params) for item in value)
    if not isinstance(value, dict):
        return flow(value)
    parts = [f"{k}: ={k}" if params.get(k) == v else f"{k}: {_written(v, params)}" for k, v in value.items()]
    return "{" + ", ".join(parts) + "}"
