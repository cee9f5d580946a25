"""JSON Schema of spec and block files, for editors: from the models of the syntax and the table of ops.

It is draft 7, which yaml-language-server reads. `check` may refuse what it admits; what it refuses is wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from compiler.passes.initial import FROM, INITS
from compiler.passes.io_keys import IO, IoKey
from compiler.schema.ops import EXPRESSION, Schema, op_names, op_nodes
from compiler.syntax.model_spec import (
    NODE_FORMS,
    BlockSpec,
    DimSpec,
    InitSpec,
    InsertSpec,
    MethodSpec,
    ModelSpec,
    NodeSpec,
    WhereSpec,
)
from compiler.syntax.schema import Name, SeqOf, Syntax, Text, Value

DRAFT = "http://json-schema.org/draft-07/schema#"
IDENTIFIER = "^[A-Za-z][A-Za-z0-9_]{0,63}$"
#: Fields whose values have a narrower form than their Python type says.
_FORMS: dict[str, Schema] = {
    "params": {"$ref": "#/definitions/param"},
    "inputs": {"$ref": "#/definitions/input"},
    "ops": {"$ref": "#/definitions/initial"},
    "paths": {"$ref": "#/definitions/initial"},
}
_OP_FIELDS = ("in", "when", "else", "share")
_SAME_FIELDS = ("in", "when", "else")


def spec_schema() -> Schema:
    """The schema of one document of a file: a spec or a block."""
    models = (ModelSpec, BlockSpec, WhereSpec, InsertSpec, DimSpec, MethodSpec, InitSpec)
    node = _fields(NodeSpec)
    common = {name: node[name] for name in _OP_FIELDS}
    definitions = {_key(model): _object(model) for model in models}
    definitions[_key(ModelSpec)]["properties"]["io"] = _io(IO)
    definitions[_key(BlockSpec) + "_document"] = {**_object(BlockSpec), "required": ["block"]}
    return {
        "$schema": DRAFT,
        "title": "A model spec, or a block",
        "definitions": {
            **definitions,
            "node": _node(node),
            **_values(),
            **_named_nodes(node),
            **op_nodes(common),
        },
        "if": {"required": ["block"]},
        "then": {"$ref": f"#/definitions/{_key(BlockSpec)}_document"},
        "else": {"$ref": f"#/definitions/{_key(ModelSpec)}"},
    }


def _key(model: type[Syntax]) -> str:
    return model.__name__.removesuffix("Spec").lower()


def _object(model: type[Syntax]) -> Schema:
    properties = _fields(model)
    return {
        "description": inspect.cleandoc(model.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": [
            f.alias or n
            for n, f in model.model_fields.items()
            if f.is_required() and (f.alias or n) in properties
        ],
        "additionalProperties": False,
    }


def _fields(model: type[Syntax]) -> Schema:
    """The schema of each key that a user may write."""
    hints = get_type_hints(model, include_extras=True)
    keys = model.keys()
    found: Schema = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in keys and not key.startswith("$"):
            found[key] = _type(hints[name], _FORMS.get(key) if model is not NodeSpec else None)
    return found


def _io(known: Mapping[str, IoKey]) -> Schema:
    """The keys of `io`, or of a table in it, each with what it is for."""
    keys = {name: _io_key(key) for name, key in known.items()}
    return {"type": "object", "properties": keys, "additionalProperties": False}


def _io_key(key: IoKey) -> Schema:
    said = f"{key.meaning} {key.kind.capitalize()}, or null."
    return (
        {"description": said}
        if not key.fields
        else {"description": said, "anyOf": [_io(key.fields), {"type": "null"}]}
    )


def _type(hint: Any, form: Schema | None) -> Schema:
    """The schema of a field's type. form: of the values where it is a mapping of any data."""
    if hint == Text:
        return {"type": "string", "minLength": 1}
    if hint == Value:
        return form or {"$ref": "#/definitions/data"}
    if inspect.isclass(hint) and issubclass(hint, Syntax):
        return {"$ref": f"#/definitions/{_key(hint)}"}
    arguments = [a for a in get_args(hint) if a is not type(None)]
    if get_origin(hint) is Annotated:
        items = SeqOf in arguments
        return (
            {"type": "array", "items": _type(get_args(arguments[0])[0], form)}
            if items
            else _type(arguments[0], form)
        )
    if get_origin(hint) is dict:
        assert arguments[0] == Name
        return {"type": "object", "additionalProperties": _type(arguments[1], form)}
    return _type(arguments[0], form)


def _node(fields: Schema) -> Schema:
    """A node takes the form that its `op`, `use` or `same_as` says."""
    forms = [
        {"if": _has("op", {"const": name}), "then": {"$ref": f"#/definitions/op.{name}"}}
        for name in _op_list()
    ]
    forms += [
        {"if": {"required": [form]}, "then": {"$ref": f"#/definitions/{form}"}} for form in NODE_FORMS[1:]
    ]
    return {
        "description": inspect.cleandoc(NodeSpec.__doc__ or ""),
        "type": "object",
        "properties": {"op": op_names(), "use": fields["use"], "same_as": fields["same_as"]},
        "oneOf": [{"required": [form]} for form in NODE_FORMS],
        "allOf": forms,
    }


def _op_list() -> list[str]:
    return [str(form["const"]) for form in op_names()["anyOf"]]


def _has(name: str, value: Schema) -> Schema:
    return {"type": "object", "properties": {name: value}, "required": [name]}


def _named_nodes(fields: Schema) -> Schema:
    """The nodes that are no op."""
    use = {name: value for name, value in fields.items() if name not in ("op", "same_as", "share")}
    same = {name: fields[name] for name in (*_SAME_FIELDS, "same_as")}
    return {
        name: {"type": "object", "properties": properties, "required": [name], "additionalProperties": False}
        for name, properties in (("use", use), ("same_as", same))
    }


def _values() -> Schema:
    """What params, inputs, init rules and any other data may be."""
    node = {
        "if": {"anyOf": [{"required": [form]} for form in NODE_FORMS]},
        "then": {"$ref": "#/definitions/node"},
    }
    data = {"$ref": "#/definitions/data"}
    return {
        "data": {
            "type": ["string", "number", "boolean", "null", "array", "object"],
            "items": data,
            "if": {"type": "object"},
            "then": {**node, "else": {"additionalProperties": data}},
        },
        "param": {
            "description": "A default, an expression, or a type: int, float, bool, str, list, block.",
            "if": _has("type", {}),
            "then": _long(("type", "default", "choices", "min", "max")),
            "else": data,
        },
        "input": {
            "description": "A type such as float[B, T, D], with `?` where the input may be absent.",
            "anyOf": [{"type": "string", "pattern": r"\[.*\]\s*\??$"}, _long(("type", "default"))],
        },
        "initial": {
            "description": "Initial values of a weight.",
            "anyOf": [
                {"enum": ["zeros", "ones", "xavier_uniform"]},
                EXPRESSION,
                *(_distribution(name, parameters) for name, parameters in INITS.items()),
                {
                    "type": "object",
                    "properties": {FROM: {"type": "string"}},
                    "required": [FROM],
                    "additionalProperties": False,
                },
            ],
        },
    }


def _long(names: tuple[str, ...]) -> Schema:
    properties: Schema = {name: {} for name in names}
    properties["type"] = {"type": "string"}
    return {"type": "object", "properties": properties, "required": ["type"], "additionalProperties": False}


def _distribution(name: str, parameters: tuple[str, ...]) -> Schema:
    number: Schema = {"anyOf": [{"type": "number"}, EXPRESSION]}
    inner = {"type": "object", "properties": dict.fromkeys(parameters, number), "additionalProperties": False}
    return {
        "type": "object",
        "properties": {name: inner if parameters else number},
        "required": [name],
        "additionalProperties": False,
    }
