"""JSON Schema of op nodes, from the op table: each op's attributes, their types and choices."""

from __future__ import annotations

from typing import Any

from compiler.ir.opdef import AttrDecl, OpDef
from compiler.ops.table import OPS

Schema = dict[str, Any]

EXPRESSION: Schema = {"type": "string", "pattern": "^=", "description": "An expression: `=4 * dim`."}
#: The YAML of each kind of attribute, beside an expression.
_KINDS: dict[str, list[Schema]] = {
    "size": [{"type": "integer", "minimum": 1}],
    "int": [{"type": "integer"}],
    "float": [{"type": "number"}],
    "bool": [{"type": "boolean"}],
    "str": [{"type": "string"}],
    "pattern": [{"type": "string"}],
    "expr": [{"type": ["number", "boolean"]}],
    "sizes": [{"type": "integer"}, {"type": "array", "items": {"anyOf": [{"type": "integer"}, EXPRESSION]}}],
    "parts": [{"type": "object", "additionalProperties": {"anyOf": [{"type": "integer"}, EXPRESSION]}}],
    "names": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    "init": [{"$ref": "#/definitions/initial"}],
}


def attribute(decl: AttrDecl) -> Schema:
    """What may be written for an attribute."""
    forms: list[Schema] = [{"enum": list(decl.choices)}] if decl.choices else list(_KINDS[decl.kind])
    if decl.default is None and not decl.required:
        forms.append({"type": "null"})
    schema: Schema = {"anyOf": [*forms, EXPRESSION]}
    if decl.default is not None:
        schema["default"] = decl.default
    return schema


def op_node(op: OpDef, common: Schema) -> Schema:
    """A node with this op. common: the fields that every op node may have."""
    return {
        "description": op.summary,
        "type": "object",
        "properties": {**common, "op": {"const": op.name}, **{a.name: attribute(a) for a in op.attrs}},
        "required": ["op", *(a.name for a in op.attrs if a.required)],
        "additionalProperties": False,
    }


def op_names() -> Schema:
    """The names of all ops, each with what it does."""
    return {"anyOf": [{"const": op.name, "description": op.summary} for op in OPS.values()]}


def op_nodes(common: Schema) -> Schema:
    """A definition per op."""
    return {f"op.{op.name}": op_node(op, common) for op in OPS.values()}
