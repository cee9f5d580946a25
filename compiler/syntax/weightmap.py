"""The surface of a weight-map file: what may stand in it, every text with its place.

    weightmap: 1
    spec: gpt2
    dialect: hf
    index: {i: depth, p: [weight, bias]}
    rules:
      - under: "transformer.? <> "
        rules: [wte.weight <> wte.weight, "ln_f.{p} <> ln_f.{p}"]
    drop: {"transformer.h.{i}.attn.bias?": the causal mask, computed by the model}

A file without `spec` is a fragment: it exists to be named by `include`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, InstanceOf, Tag, ValidationError

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.source.text import SourceFile, Span
from compiler.syntax.yaml import Key, Located, Map, Seq, parse_yaml


def _text(value: Located) -> Located:
    if value.value is None:
        raise ValueError("a text is missing here; inside { } a text that holds a comma needs quotes")
    if not isinstance(value.value, str):
        raise ValueError("a text belongs here")
    return value


def _repository(value: Located) -> Located:
    if not re.fullmatch(REPOSITORY, str(value.value), re.ASCII):
        raise ValueError("a repository belongs here: `owner/name`")
    return value


def _inside(value: Located) -> Located:
    if not all(step.strip(".") for step in str(value.value).split("/")):
        raise ValueError("a name inside the repository belongs here: no step of it is empty, `.` or `..`")
    return value


def _flag(value: Located) -> Located:
    if not isinstance(value.value, bool):
        raise ValueError("true or false belongs here")
    return value


def _version(value: Located) -> Located:
    if value.value != 1:
        raise ValueError("this compiler reads `weightmap: 1`")
    return value


REPOSITORY = r"[\w.-]+/[\w.-]+"  # what one is called on a model hub
Place = InstanceOf[Key]
Any_ = InstanceOf[Located]
Text = Annotated[InstanceOf[Located], AfterValidator(_text)]
RepositoryName = Annotated[Text, AfterValidator(_repository)]
Inside = Annotated[Text, AfterValidator(_inside)]
Flag = Annotated[InstanceOf[Located], AfterValidator(_flag)]
Version = Annotated[InstanceOf[Located], AfterValidator(_version)]
Texts = tuple[Text, ...]
#: Any data: an expression (`=...`), a scalar, or nested mappings and sequences of them.
Data = InstanceOf[Located] | InstanceOf[Map] | InstanceOf[Seq]


class Surface(BaseModel):
    """What every part of a file is: closed, and frozen once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ReasonEntry(Surface):
    """`key: {reason: why, when: condition}`, the long form of a drop."""

    reason: Text
    when: Any_ | None = None


def _shape(value: Any) -> str:
    """Which form an entry has: a plain text or a mapping."""
    if isinstance(value, Map):
        return "block" if "under" in value or "include" in value or "rules" in value else "long"
    return "text"


DropEntry = Annotated[
    Annotated[Text, Tag("text")] | Annotated[ReasonEntry, Tag("long")],
    Discriminator(lambda value: "long" if isinstance(value, Map) else "text"),
]


class RuleEntry(Surface):
    """`{map: rule, when: condition}`, the long form of a rule."""

    map: Text
    when: Any_ | None = None


class BlockEntry(Surface):
    """Rules under a pair of prefixes, written out or taken from fragments."""

    under: Text | None = None
    when: Any_ | None = None
    rules: tuple[Entry, ...] = ()
    include: Texts = ()
    drop: dict[Place, DropEntry] = {}
    tie: dict[Place, Text] = {}
    alias: dict[Place, Text] = {}


Entry = Annotated[
    Annotated[Text, Tag("text")] | Annotated[RuleEntry, Tag("long")] | Annotated[BlockEntry, Tag("block")],
    Discriminator(_shape),
]


class FilesEntry(Surface):
    """Where a variant's published checkpoint is; `default` stands for the spec's own defaults.

    revision: a commit; left out, the repository's newest when it is first fetched. file: the file or index
    with the weights; left out, the one of the usual name.
    """

    repository: RepositoryName
    revision: Inside | None = None
    file: Inside | None = None


class MatchEntry(Surface):
    """How a folder shows that it is of this family; `bare`: also where its config names no architecture."""

    model_type: Text | None = None
    architectures: Texts = ()
    metadata: dict[Place, Any_] = {}
    bare: Flag | None = None


class KeyEntry(Surface):
    """One key of the source's config and the param it gives.

    values: theirs -> ours. read, write: expressions in `it` and the params, each the other's inverse.
    numbered: theirs names numbers, {"0": "LABEL_0", ...}, ours is how many;
    the prefix of the names we make up.
    default: what the source's own reader assumes when the key is absent or null;
    nullable: when it is absent, for null is a value of its own.
    """

    param: Text | None = None
    values: dict[Place, Any_] | None = None
    read: Text | None = None
    write: Text | None = None
    numbered: Text | None = None
    default: Data | None = None
    nullable: Flag | None = None
    cases: dict[Place, CaseEntry] | None = None


class CaseEntry(Surface):
    """What a value of a choosing key sets and which further keys it brings.

    equals: what the spec has where the case sets nothing; an export looks at it.
    """

    set: dict[Place, Data] = {}
    equals: dict[Place, Data] = {}
    keys: dict[Place, KeyForm] = {}


KeyForm = Annotated[
    Annotated[Text, Tag("text")] | Annotated[KeyEntry, Tag("long")],
    Discriminator(lambda value: "long" if isinstance(value, Map) else "text"),
]


class TableEntry(Surface):
    """A table between a file of the source and values of ours, in both directions."""

    write: dict[Place, Data] = {}
    moved: dict[Place, Text] = {}
    keys: dict[Place, KeyForm] = {}
    fixed: dict[Place, Data] = {}
    ignore: dict[Place, Text] = {}
    include: dict[Place, Texts] = {}


class ConfigEntry(TableEntry):
    """The table between the source's config and the spec's params."""

    match: MatchEntry = MatchEntry()


class GenerationEntry(TableEntry):
    """The table between the source's settings of text generation and the spec's `io`.

    shared: keys that an export writes into the config, too.
    """

    shared: Texts = ()


class WeightMapFile(Surface):
    """One file, before `extends` and `include`."""

    weightmap: Version
    spec: Text | None = None
    dialect: Text | None = None
    default: Flag | None = None
    readonly: Flag | None = None
    files: dict[Place, FilesEntry] = {}
    extends: Text | None = None
    include: Texts = ()
    config: ConfigEntry | None = None
    generation: GenerationEntry | None = None
    unwrap: Texts = ()
    strip: Texts = ()
    let: dict[Place, Any_] = {}
    index: dict[Place, Annotated[Any_, Tag("expr")] | InstanceOf[Seq]] = {}
    rules: tuple[Entry, ...] = ()
    drop: dict[Place, DropEntry] = {}
    tie: dict[Place, Text] = {}
    alias: dict[Place, Text] = {}


def parse_weightmap(file: SourceFile) -> tuple[WeightMapFile, Span]:
    """A checked file and its place. Raises CompileError that holds every fault of the surface."""
    diagnostics = Diagnostics()
    documents = parse_yaml(file)
    root = documents[0]
    if len(documents) > 1:
        diagnostics.error(
            "bad-value", "a weight map is one document", documents[1].span, help="split the file"
        )
    if "weightmap" not in root:
        diagnostics.error("missing-field", "not a weight map", root.span, help="begin with `weightmap: 1`")
    diagnostics.check()
    try:
        return WeightMapFile.model_validate(root), root.span
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            _report(diagnostics, root, fault["type"], fault["loc"], fault["msg"])
        diagnostics.check()
        raise


def _report(diagnostics: Diagnostics, root: Map, kind: str, loc: tuple[int | str, ...], message: str) -> None:
    key, span, parent = _walk(root, loc)
    name = str(loc[-1])
    if kind == "extra_forbidden":
        fields = _fields(loc)
        diagnostics.error(
            "unknown-field", f"`{name}` is not a field here", key, help=did_you_mean(name, fields)
        )
    elif kind == "missing":
        diagnostics.error("missing-field", f"`{name}` is missing", parent)
    elif kind == "value_error":
        diagnostics.error("wrong-type", message.removeprefix("Value error, "), span)
    else:
        diagnostics.error(
            "wrong-type", "the value has another form than this field takes", span, label=message
        )


def _walk(root: Map, loc: tuple[int | str, ...]) -> tuple[Span, Span, Span]:
    """The places of a key, its value and the mapping around it; union tags in `loc` are skipped."""
    node: Any = root
    key = parent = root.span
    for step in loc:
        if isinstance(node, Map) and step in node:
            found = next(k for k in node if k == step)
            key, parent, node = found.span, node.span, node[found]
        elif isinstance(node, Seq) and isinstance(step, int):
            node = node[step]
            key = node.span
    return key, node.span, node.span if isinstance(node, Map) else parent


_MODELS: dict[str, type[BaseModel]] = {
    "block": BlockEntry,
    "long": RuleEntry,
    "config": ConfigEntry,
    "generation": GenerationEntry,
    "files": FilesEntry,
    "match": MatchEntry,
    "keys": KeyEntry,
    "cases": CaseEntry,
    "drop": ReasonEntry,
}


def _fields(loc: tuple[int | str, ...]) -> list[str]:
    """The fields of the innermost model on the way to a fault."""
    model: type[BaseModel] = WeightMapFile
    for step in loc[:-1]:
        model = _MODELS.get(str(step), model)
    return list(model.model_fields)
