"""Finding specs and blocks by name, always from the file where the name is used."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from compiler.diagnostics.diagnostic import Abort, Diagnostics, Note, fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.ops.table import OPS
from compiler.source.paths import packaged, search_folders
from compiler.source.text import SourceFile, Span, display_name
from compiler.syntax.model_spec import BlockSpec
from compiler.syntax.parse import ParsedFile, parse, read_spec

_BLOCK_LINE = re.compile(r"^block:[ \t]*([A-Za-z0-9_]+)", re.MULTILINE)


@dataclass
class Library:
    """Parsed files, each read once, and an index of the blocks of each folder."""

    _files: dict[Path, ParsedFile] = field(default_factory=dict[Path, ParsedFile])
    _texts: dict[Path, SourceFile] = field(default_factory=dict[Path, SourceFile])
    _folders: dict[Path, dict[str, list[Path]]] = field(default_factory=dict[Path, dict[str, list[Path]]])

    def spec(
        self, source: str | Path, span: Span | None = None, beside: SourceFile | None = None
    ) -> ParsedFile:
        """The file of a spec, by path or by name. Raises CompileError."""
        return self._parsed(find_spec(source, span, beside), needs_spec=True)

    def block(self, name: str, span: Span, diagnostics: Diagnostics) -> BlockSpec:
        """The block that `name` means in the file of `span`: private, beside the file, searched, packaged."""
        home = span.file
        own = self._files.get(home.path) if home.path is not None else None
        if own is not None and name in own.blocks:
            return own.blocks[name]
        for folder in self._block_folders(home):
            paths = self._index(folder).get(name, [])
            if len(paths) > 1:
                raise diagnostics.error(
                    "ambiguous-name",
                    f"the block `{name}` stands in two files of one folder",
                    span,
                    notes=tuple(Note(display_name(p)) for p in paths),
                )
            if paths:
                return self._parsed(paths[0]).blocks[name]
        raise self._unknown(name, span, own, diagnostics)

    def has_block(self, name: str, home: SourceFile) -> bool:
        """Whether `block` would find one."""
        own = self._files.get(home.path) if home.path is not None else None
        return (own is not None and name in own.blocks) or any(
            name in self._index(folder) for folder in self._block_folders(home)
        )

    def private_blocks(self, file: SourceFile) -> dict[str, BlockSpec]:
        """The blocks of a file's further documents."""
        own = self._files.get(file.path) if file.path is not None else None
        return own.blocks if own is not None else {}

    def _unknown(self, name: str, span: Span, own: ParsedFile | None, diagnostics: Diagnostics) -> Abort:
        known = {n for folder in self._block_folders(span.file) for n in self._index(folder)}
        known |= set(own.blocks) if own is not None else set()
        is_op = name in OPS
        cure = f"`{name}` is an op: write `op: {name}`" if is_op else did_you_mean(name, known)
        return diagnostics.error("unknown-block", f"there is no block `{name}`", span, help=cure)

    def _block_folders(self, home: SourceFile) -> list[Path]:
        folders: list[Path] = []
        if home.path is not None:
            here = home.path.resolve().parent
            folders += [here if here.name == "blocks" else here / "blocks"]
        folders += [folder / "blocks" for folder in search_folders("specs")]
        return [f for f in dict.fromkeys(folders) if f.is_dir()]

    def _index(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._folders:
            index: dict[str, list[Path]] = {}
            for path in sorted(folder.glob("*.yaml")):
                for match in _BLOCK_LINE.finditer(self._text(path).text):
                    index.setdefault(match[1], []).append(path)
            self._folders[folder] = index
        return self._folders[folder]

    def _text(self, path: Path) -> SourceFile:
        if path not in self._texts:
            found = read_source(path)
            self._texts[path] = _known_source(found.name, found.text, path)
        return self._texts[path]

    def _parsed(self, path: Path, needs_spec: bool = False) -> ParsedFile:
        if path not in self._files:
            self._files[path] = _known_file(self._text(path), needs_spec)
        return self._files[path]


@lru_cache(maxsize=256)
def _known_source(name: str, text: str, path: Path) -> SourceFile:
    """One object for one text, so that a file that has not changed is parsed once in a process."""
    return SourceFile(name, text, path)


@lru_cache(maxsize=256)
def _known_file(source: SourceFile, needs_spec: bool) -> ParsedFile:
    return read_spec(source) if needs_spec else parse(source)


def read_source(path: Path) -> SourceFile:
    """A text file of the user's. Raises CompileError when it is none."""
    try:
        return SourceFile.read(path)
    except UnicodeDecodeError:
        raise fail("unreadable", f"`{display_name(path)}` is not UTF-8 text", None) from None
    except OSError as error:
        raise fail("unreadable", f"`{display_name(path)}` cannot be read: {error.strerror}", None) from None


def find_spec(source: str | Path, span: Span | None = None, beside: SourceFile | None = None) -> Path:
    """The file that a spec's name or path means."""
    text = str(source)
    base = beside.path.parent if beside is not None and beside.path is not None else Path()
    if isinstance(source, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        path = base / text
        if not os.path.isfile(path):
            raise fail("not-found", f"there is no file `{path}`", span)
        return path
    folders = list(dict.fromkeys([*([base] if beside is not None else []), *search_folders("specs")]))
    for folder in folders:
        path = folder / f"{text}.yaml"
        if os.path.isfile(path):
            return path
    known = {p.stem for folder in folders for p in folder.glob("*.yaml")}
    raise fail(
        "not-found", f"there is no spec `{text}`", span, help=did_you_mean(text, known) or "see `list`"
    )


def spec_names() -> list[str]:
    """The packaged specs and those of the search folders."""
    folders = [packaged("specs"), *search_folders("specs")]
    return sorted({p.stem for folder in folders for p in folder.glob("*.yaml")})
