"""Where weight maps are found, and how files become one map through `extends` and `include`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compiler.diagnostics.diagnostic import Diagnostics, fail
from compiler.diagnostics.suggest import did_you_mean
from compiler.source.paths import search_folders
from compiler.source.text import SourceFile, Span
from compiler.syntax.weightmap import BlockEntry, FilesEntry, TableEntry, WeightMapFile, parse_weightmap
from compiler.syntax.yaml import Key, Located, Seq
from compiler.weights.config_table import ConfigTable, Fragments, read_table
from compiler.weights.statements import Reader, Scope, Statement

SUFFIX = ".yaml"


@dataclass(frozen=True)
class Published:
    """Where a variant's checkpoint is: a repository, a file in it (or the one of the usual name), a commit.

    revision: None where no commit has been checked: the newest, as it is when it is first fetched.
    """

    repository: str
    revision: str | None
    file: str | None
    span: Span


@dataclass(frozen=True)
class WeightMap:
    """A map with everything it extends and includes written out; independent of any model's sizes.

    unwrap: the mappings that a torch file of this dialect may nest its tensors in, for the header's reader.
    """

    name: str
    spec: str
    dialect: str
    span: Span
    default: bool
    readonly: bool
    files: Mapping[str, Published]
    unwrap: tuple[str, ...]
    strip: tuple[str, ...]
    let: Mapping[Key, Located]
    index: Mapping[Key, Located | Seq]
    statements: tuple[Statement, ...]
    config: ConfigTable | None
    generation: ConfigTable | None


@dataclass(frozen=True)
class Library:
    """Weight maps in a list of folders, searched in order."""

    folders: tuple[Path, ...]
    _loaded: dict[Path, WeightMap] = field(default_factory=dict[Path, WeightMap], compare=False)
    _files: dict[Path, tuple[WeightMapFile, Span]] = field(
        default_factory=dict[Path, tuple[WeightMapFile, Span]], compare=False
    )

    @classmethod
    def standard(cls, beside: Iterable[Path] = ()) -> Library:
        """`beside` (the folder of a user's spec), the environment's folders, then the packaged maps."""
        folders = (*beside, *search_folders("weightmaps"))
        return cls(tuple(dict.fromkeys(folder for folder in folders if folder.is_dir())))

    def names(self) -> list[str]:
        """`spec.dialect` of every map in the folders."""
        found = (path.stem for folder in self.folders for path in sorted(folder.glob(f"*.*{SUFFIX}")))
        return list(dict.fromkeys(found))

    def mentioning(self, word: str) -> list[str]:
        """The names of maps in whose text a word stands, and of those that may have it from another map."""
        found: list[str] = []
        for name in self.names():
            try:
                text = self._find(name, None, None).read_text(encoding="utf-8", errors="replace")
            except OSError:
                text = word  # `load` tells what is wrong with the file
            if word in text or ("extends:" in text and "match:" not in text):
                found.append(name)
        return found

    def load(self, name: str | Path, span: Span | None = None) -> WeightMap:
        """A map by `spec.dialect` or by path. Raises CompileError."""
        path = self._find(str(name), None, span)
        if path not in self._loaded:
            self._loaded[path] = _Resolver(self, files=self._files).map(path)
        return self._loaded[path]

    def candidates(self, spec: str, parents: Sequence[str] = ()) -> list[WeightMap]:
        """The maps of a spec, or of its nearest parent that has any."""
        for owner in (spec, *parents):
            names = [name for name in self.names() if name.rsplit(".", 1)[0] == owner]
            if names:
                return [self.load(name) for name in names]
        return []

    def _find(self, name: str, beside: Path | None, span: Span | None) -> Path:
        if name.endswith(SUFFIX):
            path = Path(name) if beside is None else beside / name
            if path.is_file():
                return path
            raise fail("not-found", f"there is no weight map `{name}`", span)
        for folder in (*([beside] if beside else []), *self.folders):
            path = folder / f"{name}{SUFFIX}"
            if path.is_file():
                return path
        raise fail(
            "not-found", f"there is no weight map `{name}`", span, help=did_you_mean(name, self.names())
        )


@dataclass
class _Resolver:
    """Reads one map and what it names; `stack` guards against files that name each other."""

    library: Library
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    stack: tuple[Path, ...] = ()
    files: dict[Path, tuple[WeightMapFile, Span]] = field(
        default_factory=dict[Path, tuple[WeightMapFile, Span]]
    )

    def map(self, path: Path) -> WeightMap:
        file, span = self._read(path)
        if file.spec is None or file.dialect is None:
            raise fail(
                "missing-field",
                "a weight map names its `spec` and `dialect`",
                span,
                help="only fragments do without",
            )
        chain = self._chain(path)
        parts = [part for at, f in chain for part in (*self._included(at, f.include), (at, f))]
        let = {key: value for _, f in parts for key, value in f.let.items()}
        index = {key: value for _, f in parts for key, value in f.index.items()}
        statements = [s for at, f in chain for s in self._statements(at, f, let, index)]
        config = read_table(
            [f.config for _, f in parts if f.config],
            self._fragments(path, lambda f: f.config),
            self.diagnostics,
        )
        generation = read_table(
            [f.generation for _, f in parts if f.generation],
            self._fragments(path, lambda f: f.generation),
            self.diagnostics,
        )
        self.diagnostics.check()
        return WeightMap(
            name=path.stem if path.stem.count(".") == 1 else f"{file.spec.value}.{file.dialect.value}",
            spec=str(file.spec.value),
            dialect=str(file.dialect.value),
            span=file.spec.span,
            default=bool(file.default and file.default.value),
            readonly=any(f.readonly is not None and bool(f.readonly.value) for _, f in chain),
            files={str(variant): _published(entry) for variant, entry in file.files.items()},
            unwrap=tuple(str(t.value) for _, f in parts for t in f.unwrap),
            strip=tuple(str(t.value) for _, f in parts for t in f.strip),
            let=let,
            index=index,
            statements=tuple(statements),
            config=config,
            generation=generation,
        )

    def _read(self, path: Path, span: Span | None = None) -> tuple[WeightMapFile, Span]:
        key = path.resolve()
        if key not in self.files:
            try:
                self.files[key] = parse_weightmap(SourceFile.read(path))
            except (OSError, UnicodeDecodeError) as error:
                raise fail("unreadable", f"cannot read {path}: {error}", span) from None
        return self.files[key]

    def _chain(self, path: Path) -> list[tuple[Path, WeightMapFile]]:
        """The map and those it extends, the furthest first."""
        chain: list[tuple[Path, WeightMapFile]] = []
        seen: set[Path] = set()
        span: Span | None = None
        while True:
            if path.resolve() in seen:
                raise fail("cycle", "weight maps extend each other", span)
            seen.add(path.resolve())
            file, _ = self._read(path, span)
            chain.append((path, file))
            if file.extends is None:
                return chain[::-1]
            span = file.extends.span
            path = self.library._find(str(file.extends.value), path.parent, span)

    def _included(self, path: Path, names: Sequence[Located]) -> list[tuple[Path, WeightMapFile]]:
        """Fragments and what they include, the innermost first."""
        found: list[tuple[Path, WeightMapFile]] = []
        for name in names:
            target = self.library._find(str(name.value), path.parent, name.span)
            if target.resolve() in self.stack:
                raise fail("cycle", "fragments include each other", name.span)
            file, _ = self._read(target, name.span)
            if file.spec is not None:
                raise fail(
                    "bad-value",
                    f"`{name.value}` is a whole map",
                    name.span,
                    help="use `extends`, or a fragment",
                )
            inner = _Resolver(self.library, self.diagnostics, (*self.stack, target.resolve()), self.files)
            found += [*inner._included(target, file.include), (target, file)]
        return found

    def _statements(
        self, path: Path, file: WeightMapFile, let: dict[Key, Located], index: dict[Key, Located | Seq]
    ) -> list[Statement]:
        def fragment(name: Located) -> list[BlockEntry]:
            blocks: list[BlockEntry] = []
            for _, part in self._included(path, [name]):
                blocks.append(_block(part))
                let.update({k: v for k, v in part.let.items() if k not in let})
                index.update({k: v for k, v in part.index.items() if k not in index})
            return blocks

        reader = Reader(self.diagnostics, fragment, let)
        root = _block(file).model_copy(update={"include": file.include})
        return reader.block(root, Scope())

    def _fragments(self, path: Path, section: Callable[[WeightMapFile], TableEntry | None]) -> Fragments:
        def find(name: str, span: Span) -> list[TableEntry]:
            named = self._included(path, [Located(name, span, name)])
            return [part for _, file in named if (part := section(file)) is not None]

        return find


def _published(entry: FilesEntry) -> Published:
    file = str(entry.file.value) if entry.file else None
    revision = str(entry.revision.value) if entry.revision else None
    return Published(str(entry.repository.value), revision, file, entry.repository.span)


def _block(file: WeightMapFile) -> BlockEntry:
    return BlockEntry.model_construct(rules=file.rules, drop=file.drop, tie=file.tie, alias=file.alias)
