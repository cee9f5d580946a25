"""Pydantic over located YAML: models whose leaves keep their places, and faults with file:line:col."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean, nearest
from compiler.source.text import BUILTIN, Span
from compiler.syntax.yaml import Key, Located, Map, Seq, Yaml

S = TypeVar("S", bound="Syntax")


def _is_value(value: object) -> object:
    if isinstance(value, Located | Map | Seq):
        return value
    raise PydanticCustomError("wrong_type", "expected a value")


def _is_text(value: object) -> object:
    if isinstance(value, Located) and isinstance(value.value, str) and value.value:
        return value
    raise PydanticCustomError("wrong_type", "expected a word, found {found}", {"found": describe(value)})


def _is_key(value: object) -> object:
    assert isinstance(value, Key)
    return value


def _is_map(value: object) -> object:
    if isinstance(value, Map):
        return value
    raise PydanticCustomError("wrong_type", "expected a mapping, found {found}", {"found": describe(value)})


def _is_seq(value: object) -> object:
    if isinstance(value, Seq):
        return list(value)
    raise PydanticCustomError("wrong_type", "expected a list, found {found}", {"found": describe(value)})


#: How a field is written, for whoever wrote it otherwise.
FORMS = {
    "params": "params: {dim: 768}",
    "variants": "variants: {large: {dim: 1024}}",
    "dims": "dims: {T: {max: =context}}",
    "inputs": 'inputs: {x: "float[B, T, D]"}',
    "nodes": "nodes: {up: {op: linear, out: =dim}}",
    "outputs": "outputs: {y: node}",
    "methods": "methods: {encode: {outputs: {memory: node}}}",
    "with": "with: {hidden: =4 * dim}",
    "where": 'where: [{at: "0:2", set: {path: value}}]',
    "set": "set: {path: value}",
    "remove": "remove: [node]",
    "replace": "replace: {node: {op: linear, out: =dim}}",
    "insert": "insert: {after: node, nodes: {drop: {op: dropout, p: 0.1}}}",
}

Value = Annotated[Any, AfterValidator(_is_value)]  # any YAML: Located | Map | Seq
Text = Annotated[Any, AfterValidator(_is_text)]  # a Located whose value is a string
Name = Annotated[Any, AfterValidator(_is_key)]  # a mapping key
MapOf = BeforeValidator(_is_map)
SeqOf = BeforeValidator(_is_seq)
Values = Annotated[dict[Name, Value], MapOf]
Texts = Annotated[dict[Name, Text], MapOf]


class Syntax(BaseModel):
    """A mapping of the language: unknown keys are errors, instances are frozen and know their place."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, populate_by_name=False
    )
    span: Annotated[Span, Field(alias="$span", default=BUILTIN, exclude=True)]

    #: Keys that are handed on instead of being refused, into the field `attrs`.
    open: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _locate(cls, data: object) -> object:
        if isinstance(data, dict) and not isinstance(data, Map):
            return data  # built by the compiler itself
        if not isinstance(data, Map):
            raise PydanticCustomError(
                "wrong_type", "expected a mapping, found {found}", {"found": describe(data)}
            )
        known = cls.keys()
        fields: dict[str, object] = {str(k): v for k, v in data.items() if k in known or not cls.open}
        if cls.open:
            attrs = Map({k: v for k, v in data.items() if k not in known})
            attrs.span = data.span
            fields["attrs"] = attrs
        return {**fields, "$span": data.span}

    @classmethod
    def keys(cls) -> frozenset[str]:
        """The keys a user may write."""
        names = {f.alias or n for n, f in cls.model_fields.items()}
        return frozenset(names - {"$span", "attrs"})


def describe(value: object) -> str:
    """A value in words, for messages."""
    if isinstance(value, Map):
        return "a mapping"
    if isinstance(value, Seq):
        return "a list"
    if isinstance(value, Located):
        return "nothing" if value.value is None else f"`{value.text[:60]}`"
    return repr(value)[:60]


def validate(model: type[S], data: Map, diagnostics: Diagnostics) -> S:
    """The model of a mapping; every fault becomes a diagnostic. Raises Abort after reporting."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        last = None
        items = error.errors(include_url=False)
        for item in (i for i in items if not _is_misspelt(model, i["loc"], i["type"], items)):
            last = _report(model, data, item["loc"], item["type"], item["msg"], diagnostics)
        assert last is not None
        raise last from None


def _is_misspelt(model: type[Syntax], loc: Sequence[object], kind: str, items: Sequence[Any]) -> bool:
    """Whether a missing field stands there under a near name, which is reported as unknown."""
    if kind != "missing":
        return False
    beside = [i["loc"][-1] for i in items if i["type"] == "extra_forbidden" and i["loc"][:-1] == loc[:-1]]
    known = _expected(model, loc)
    return any(nearest(str(name), known) == [str(loc[-1])] for name in beside)


def _report(
    model: type[Syntax], data: Map, loc: Sequence[object], kind: str, message: str, diagnostics: Diagnostics
) -> Exception:
    parent, key_span, value = _walk(data, loc)
    where = ".".join(str(p) for p in loc)
    if kind == "extra_forbidden":
        name = str(loc[-1])
        known = _expected(model, loc)
        return diagnostics.error(
            "unknown-field", f"unknown field `{name}`", key_span, help=did_you_mean(name, known)
        )
    if kind == "missing":
        return diagnostics.error("missing-field", f"the field `{loc[-1]}` is missing", _head(parent.span))
    span = value.span if value is not None else key_span
    form = next((FORMS[str(part)] for part in reversed(loc) if part in FORMS), "")
    cure = f"write `{form}`" if form else ""
    return diagnostics.error("wrong-type", f"`{where}`: {message}", _head(span), help=cure)


def _walk(data: Yaml, loc: Sequence[object]) -> tuple[Yaml, Span, Yaml | None]:
    """Follow an error's path: the innermost collection, the place of the last key found, the value there."""
    parent, span, value = data, data.span, data
    for part in loc:
        if isinstance(value, Map) and isinstance(part, str) and part in value:
            parent, span = value, next(k.span for k in value if k == part)
            value = value[Key(part, span)]
        elif isinstance(value, Seq) and isinstance(part, int) and part < len(value):
            parent, value = value, value[part]
            span = value.span
        elif part is loc[-1]:
            return value, value.span, None
    return parent, span, value


def _expected(model: type[Syntax], loc: Sequence[object]) -> frozenset[str]:
    """The keys allowed in the mapping that an error path ends in."""
    current: type[Syntax] = model
    for part in loc[:-1]:
        for name, field in current.model_fields.items():
            if part in (name, field.alias):
                inner = _models(field.annotation)
                current = inner[0] if inner else current
    return current.keys()


def _models(annotation: object) -> list[type[Syntax]]:
    if isinstance(annotation, type) and issubclass(annotation, Syntax):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models(arg)]


def _head(span: Span) -> Span:
    """The first line of a span."""
    if span.line == span.end_line:
        return span
    return Span(span.file, span.line, span.column, span.line, len(span.file.line(span.line)) + 1)
