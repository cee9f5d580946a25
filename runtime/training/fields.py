"""Sections of a recipe: plain values under strict types, whose faults name their place in the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.passes.overrides import plain
from compiler.syntax.schema import MapOf, Name, Syntax, describe, validate
from compiler.syntax.yaml import Located, Map, Seq

S = TypeVar("S", bound="Section")


class Section(Syntax):
    """A mapping of a recipe."""

    model_config = ConfigDict(strict=True)


class KindSection(Section):
    """A mapping whose `kind` decides which further fields it has."""

    kind: Annotated[str, BeforeValidator(lambda value: getattr(value, "value", value))]


def _reads(what: str, *types: type) -> Callable[[object], object]:
    """A validator that takes a located scalar of one of some types; a bool is no number."""

    def read(value: object) -> object:
        if not isinstance(value, Located):
            if isinstance(value, Map | Seq):
                raise PydanticCustomError("wrong_type", _EXPECTED, {"what": what, "found": describe(value)})
            return value  # a default
        if not isinstance(value.value, types) or (isinstance(value.value, bool) and bool not in types):
            raise PydanticCustomError("wrong_type", _EXPECTED, {"what": what, "found": describe(value)})
        return value.value

    return read


def _items(value: object) -> object:
    """A located list as a tuple of its items."""
    if isinstance(value, Located):
        raise PydanticCustomError("wrong_type", _EXPECTED, {"what": "a list", "found": describe(value)})
    return tuple(value) if isinstance(value, Seq) else value


_EXPECTED = "expected {what}, found {found}"
_None = type(None)

Word = Annotated[str, BeforeValidator(_reads("a word", str))]
Whole = Annotated[int, BeforeValidator(_reads("a whole number", int))]
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_reads("a number", int, float))]
Flag = Annotated[bool, BeforeValidator(_reads("true or false", bool))]
MaybeWord = Annotated[str | None, BeforeValidator(_reads("a word or null", str, _None))]
MaybeWhole = Annotated[
    Annotated[int, Field(ge=1)] | None, BeforeValidator(_reads("a whole number or null", int, _None))
]
MaybeNumber = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
    BeforeValidator(_reads("a number or null", int, float, _None)),
]
Words = Annotated[tuple[Word, ...], BeforeValidator(_items)]
WordsBy = Annotated[dict[Name, Word], MapOf]
Positive = Annotated[Whole, Field(ge=1)]
Count = Annotated[Whole, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Shares = Annotated[tuple[Share, ...], BeforeValidator(_items)]
MaybeShare = Annotated[
    Annotated[float, Field(ge=0, lt=1)] | None, BeforeValidator(_reads("a number or null", int, float, _None))
]


def of_kind(data: object, kinds: Mapping[str, type[S]], what: str, diagnostics: Diagnostics) -> S:
    """The section that its `kind` names. Raises Abort after reporting."""
    if not isinstance(data, Map):
        span = data.span if isinstance(data, Located | Seq) else None
        raise diagnostics.error("wrong-type", f"{what} is a mapping, not {describe(data)}", span)
    if "kind" not in data:
        head = next(iter(data)).span if data else data.span
        raise diagnostics.error("missing-field", f"{what} says no `kind`", head, help=_known(kinds))
    kind = next(value for key, value in data.items() if key == "kind")
    name = getattr(kind, "value", None)
    if not isinstance(name, str) or name not in kinds:
        message = f"there is no {what} of the kind {describe(kind)}"
        cure = did_you_mean(str(name), kinds) or _known(kinds)
        raise diagnostics.error("bad-value", message, kind.span, help=cure)
    return validate(kinds[name], data, diagnostics)


def _known(kinds: Mapping[str, object]) -> str:
    return "known: " + ", ".join(f"`{kind}`" for kind in sorted(kinds))


def written(value: object) -> Any:
    """A section as plain data that reads back as the same section; what is null is left out."""
    if isinstance(value, Syntax):
        fields = {name: getattr(value, name) for name in type(value).model_fields if name != "span"}
        return {name: written(item) for name, item in fields.items() if item is not None}
    if isinstance(value, Located | Map | Seq):
        return plain(value)
    if isinstance(value, tuple | list):
        return [written(item) for item in value]
    if isinstance(value, dict):
        return {str(key): written(item) for key, item in value.items()}
    return value
