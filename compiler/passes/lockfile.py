"""spec.lock.yaml: what was built, from which files, by which compiler; valid YAML, equal for equal inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from compiler.ir.flow import data, text
from compiler.ir.graph import Attr, Block, Graph, OpNode, RepeatNode, UseNode
from compiler.ir.printer import print_typed
from compiler.ir.typed import TypedGraph
from compiler.source.paths import packaged
from compiler.source.text import SourceFile, Span
from compiler.version import VERSION

HEADER = "# Written by `python -m compiler build`; edits are lost.\n"
_DIGEST = "digest: "


def lock_text(graph: TypedGraph, outputs: Mapping[str, str]) -> str:
    """The lock of a build. outputs: name -> text of the files written beside it."""
    root = graph.root
    lines = [
        "lock: 1",
        f"compiler: {text(VERSION)}",
        f"spec: {text(root.block.name)}",
        f"architecture: {architecture(graph)}",
        f"parameters: {root.parameter_count()}",
        f"params: {data(root.params)}",
        "files:",
        *(f"  - {{file: {text(name)}, sha256: {digest}}}" for name, digest in _files(graph.graph)),
        "written:",
        *(f"  {text(name)}: {_sha256(content)}" for name, content in outputs.items()),
        print_typed(graph).rstrip("\n"),
    ]
    body = HEADER + "\n".join(lines) + "\n"
    return f"{body}{_DIGEST}{_sha256(body)}\n"


def architecture(graph: TypedGraph) -> str:
    """A hash of the resolved architecture: names, wiring, sizes; not of files and comments."""
    return _sha256(print_typed(graph))


def is_lock(content: str) -> bool:
    """Whether a text is a lock as this compiler wrote it, unchanged since."""
    body, mark, digest = content.rpartition(_DIGEST)
    return content.startswith(HEADER) and bool(mark) and digest == f"{_sha256(body)}\n"


def was_written(lock: str, name: str, content: str) -> bool:
    """Whether a lock says that this very text was written under that name."""
    return is_lock(lock) and f"  {text(name)}: {_sha256(content)}\n" in lock


def _sha256(content: str) -> str:
    return f'"{hashlib.sha256(content.encode()).hexdigest()}"'  # quoted: all digits would be a number


def _files(graph: Graph) -> list[tuple[str, str]]:
    """The files that the graph came from, by name and hash, the spec's own first."""
    files = {span.file.path: span.file for span in _spans(graph) if span.file.path is not None}
    spec = graph.root.span.file
    named = sorted((_name(file, spec), _sha256(file.text)) for file in files.values() if file is not spec)
    return [(_name(spec, spec), _sha256(spec.text)), *named]


def _name(file: SourceFile, spec: SourceFile) -> str:
    """The path below the spec's folder or the packaged specs; elsewhere the file's name alone."""
    assert file.path is not None and spec.path is not None
    path = file.path.resolve()
    for folder in (spec.path.resolve().parent, packaged("specs").resolve()):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return Path(path).name


def _spans(graph: Graph) -> Iterator[Span]:
    yield from _block_spans(graph.root)
    yield from (rule.span for rule in graph.init)
    yield from (method.span for method in graph.methods)
    yield from (bound.span for bound in graph.max_dims.values())


def _block_spans(block: Block) -> Iterator[Span]:
    yield block.span
    yield from _attr_spans(block.params)
    yield from (port.span for port in block.inputs)
    yield from block.output_spans.values()
    for node in block.nodes:
        yield node.span
        yield from node.input_spans.values()
        match node.action:
            case OpNode(attrs=attrs, shares=shares):
                yield from _attr_spans(attrs)
                yield from _attr_spans(shares)
            case UseNode(block=inner):
                yield from _block_spans(inner)
            case RepeatNode(bodies=bodies):
                for body in bodies:
                    yield from _block_spans(body)
            case _:
                continue


def _attr_spans(attrs: Mapping[str, Attr]) -> Iterator[Span]:
    return (attr.span for attr in attrs.values())
