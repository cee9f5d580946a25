"""JSON Schema of weight-map files, from the models of their surface."""

from __future__ import annotations

import inspect
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from compiler.schema.spec import DRAFT
from compiler.syntax import weightmap
from compiler.syntax.weightmap import (
    REPOSITORY,
    Any_,
    Data,
    Flag,
    Inside,
    RepositoryName,
    Text,
    Version,
    WeightMapFile,
)
from compiler.syntax.yaml import Located, Map, Seq

Schema = dict[str, Any]

_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_LEAVES: list[tuple[Any, Schema]] = [
    (Text, {"type": "string"}),
    (RepositoryName, {"type": "string", "pattern": f"^{REPOSITORY}$"}),
    (Inside, {"type": "string"}),
    (Flag, {"type": "boolean"}),
    (Version, {"const": 1}),
    (Any_, _SCALAR),
    (Data, {}),
]


def weightmap_schema() -> Schema:
    """The schema of a map or a fragment."""
    definitions: Schema = {}
    root = _model(WeightMapFile, definitions)
    return {"$schema": DRAFT, "title": "A weight map", "definitions": definitions, **root}


def _model(model: type[BaseModel], definitions: Schema) -> Schema:
    """A reference to a model, which is put among the definitions."""
    name = model.__name__
    if name not in definitions:
        definitions[name] = {}  # stands there while its own fields refer to it
        hints = get_type_hints(model, vars(weightmap), include_extras=True)
        definitions[name] = {
            "description": inspect.cleandoc(model.__doc__ or ""),
            "type": "object",
            "properties": {n: _type(hints[n], definitions) for n in model.model_fields},
            "required": [n for n, field in model.model_fields.items() if field.is_required()],
            "additionalProperties": False,
        }
    return {"$ref": f"#/definitions/{name}"}


def _type(hint: Any, definitions: Schema) -> Schema:
    leaf = next((schema for known, schema in _LEAVES if hint == known), None)
    if leaf is not None:
        return leaf
    arguments = [a for a in get_args(hint) if a is not type(None)]
    if get_origin(hint) is Annotated:
        return _type(arguments[0], definitions)
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": _type(arguments[1], definitions)}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _type(arguments[0], definitions)}
    if get_origin(hint) in (Union, UnionType):
        forms = [_type(a, definitions) for a in arguments]
        return forms[0] if len(forms) == 1 else {"anyOf": forms}
    if hint is Seq:
        return {"type": "array"}
    if hint is Map:
        return {"type": "object"}
    if hint is Located:
        return _SCALAR
    return _model(hint, definitions)
