"""build: a spec compiled, constructed once without memory, and left as a folder: model, lock, report."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from compiler.cli.arguments import Verbs, add_optimize, add_source, add_verb, settings
from compiler.cli.files import Output, write_all
from compiler.ir.program import Program
from compiler.pipeline import locate, program, typed_graph
from compiler.report.summary import report

MODEL, LOCK, REPORT = "model.py", "spec.lock.yaml", "report.txt"
DEFAULT_OUT = Path("build")


def declare(verbs: Verbs) -> None:
    """Add the verb and its arguments."""
    parser = add_verb(verbs, "build", "compile a spec into a folder: model.py, spec.lock.yaml, report.txt")
    add_source(parser)
    add_optimize(parser)
    parser.add_argument("--out", metavar="DIR", type=Path, help="the folder (default: build/SPEC)")
    parser.add_argument("--force", action="store_true", help="overwrite files whatever they hold")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile, construct, report, write."""
    from compiler.backend.emit import emit
    from compiler.passes.lockfile import is_lock, lock_text, was_written

    typed = typed_graph(options.source, set=settings(options))
    compiled = program(typed, optimize=options.optimize)
    text = emit(compiled)
    found = report(typed)
    _construct(compiled, typed.root.parameter_count())
    folder = options.out or DEFAULT_OUT / _folder_name(options.source, compiled.name)
    made = {MODEL: text, REPORT: found}
    earlier = _read(folder / LOCK)
    outputs = [
        Output(folder / name, content, partial(was_written, earlier, name)) for name, content in made.items()
    ]
    write_all([*outputs, Output(folder / LOCK, lock_text(typed, made), is_lock)], force=options.force)
    print(found, end="")
    print(f"\nwrote {', '.join(str(folder / name) for name in (*made, LOCK))}")
    return 0


def _construct(compiled: Program, parameters: int) -> None:
    """The module on the meta device: the proof that the text runs and holds what the report says."""
    from compiler.backend.build import build

    model = build(compiled, device="meta")
    made = sum(p.numel() for p in model.parameters())
    assert made == parameters, f"the module has {made} parameters, the spec {parameters}"


def _folder_name(source: str, spec: str) -> str:
    _, variant, _ = locate(source)
    return f"{spec}-{variant}" if variant else spec


def _read(path: Path) -> str:
    """An earlier lock, or nothing that could be one."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
