"""The declared surface of a block: its ports, dims and params, read from the syntax."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.dims import Dim
from compiler.ir.values import Residual, Value, spell
from compiler.passes.origins import origins
from compiler.passes.scope import Closure, Scope
from compiler.source.text import Span
from compiler.syntax.expr import ExprError, free_names
from compiler.syntax.model_spec import Body
from compiler.syntax.names import is_identifier
from compiler.syntax.parse import is_block_value
from compiler.syntax.schema import describe
from compiler.syntax.types import TypePattern, parse_type
from compiler.syntax.yaml import Key, Located, Map

_LONG = ("type", "default", "choices", "min", "max")
PARAM_TYPES = ("int", "float", "bool", "str", "list", "block")


@dataclass(frozen=True)
class InputDecl:
    """An input: its type, and the node that stands in when the caller gives nothing."""

    name: str
    pattern: TypePattern
    default: Located | None
    span: Span


@dataclass(frozen=True)
class ParamDecl:
    """A param: its type if one is declared, its default if it has one."""

    name: str
    kind: str | None
    nullable: bool
    default: object | None  # YAML
    limits: Map | None
    span: Span


def input_decls(body: Body, diagnostics: Diagnostics) -> tuple[InputDecl, ...]:
    """The inputs in order. Reports every type that does not parse."""
    out: list[InputDecl] = []
    for key, written in body.inputs.items():
        with diagnostics.recover():
            out.append(_input(key, written, diagnostics))
    return tuple(out)


def _input(key: Key, written: object, diagnostics: Diagnostics) -> InputDecl:
    default = None
    if isinstance(written, Map):
        for name in written:
            if name not in ("type", "default"):
                cure = did_you_mean(name, ("type", "default"))
                raise diagnostics.error("unknown-field", f"unknown field `{name}`", name.span, help=cure)
        default = written.get(Key("default", key.span))
        if default is not None and not (isinstance(default, Located) and isinstance(default.value, str)):
            message = f"the default of the input `{key}` is a node, not {describe(default)}"
            raise diagnostics.error("wrong-type", message, default.span)
        written = written.get(Key("type", key.span))
    if not isinstance(written, Located) or not isinstance(written.value, str):
        raise diagnostics.error(
            "wrong-type", f"the input `{key}` has no type", key.span, help="write `float[B, T, D]`"
        )
    try:
        return InputDecl(key, parse_type(written.value), default, key.span)
    except ExprError as error:
        span = written.part(error.start, error.end)
        raise diagnostics.error("bad-pattern", error.message, span, help=error.help) from None


def check_order(body: Body, diagnostics: Diagnostics) -> None:
    """A spec's inputs become arguments of Python: the required ones come first."""
    optional: InputDecl | None = None
    for decl in input_decls(body, diagnostics):
        if decl.pattern.optional or decl.default is not None:
            optional = optional or decl
        elif optional is not None:
            diagnostics.error(
                "input-order",
                f"the required input `{decl.name}` stands behind the optional `{optional.name}`",
                decl.span,
                notes=(Note(f"`{optional.name}` is optional", optional.span),),
                help=f"list `{decl.name}` before `{optional.name}`: "
                "inputs become arguments of `forward`, in order",
            )


def dim_names(inputs: tuple[InputDecl, ...], body: Body) -> frozenset[str]:
    """The names in the inputs' types that are no params: dims, bound by what arrives."""
    names: set[str] = set()
    for decl in inputs:
        for axis in decl.pattern.axes:
            if axis.size is not None:
                names |= free_names(axis.size)
    return frozenset(n for n in names if n not in body.params and n not in body.let)


def param_decls(body: Body, diagnostics: Diagnostics) -> dict[str, ParamDecl]:
    """The params in order, types told from defaults."""
    out: dict[str, ParamDecl] = {}
    for key, written in body.params.items():
        with diagnostics.recover():
            out[key] = _param(key, written, diagnostics)
    return out


def _param(key: Key, written: object, diagnostics: Diagnostics) -> ParamDecl:
    if isinstance(written, Located) and isinstance(written.value, str):
        word, nullable = written.value.removesuffix("?"), written.value.endswith("?")
        if word in PARAM_TYPES or word.startswith("block("):
            kind = "block" if word.startswith("block(") else word
            default = Located(None, written.span) if nullable else None
            return ParamDecl(key, kind, nullable, default, None, key.span)
    if isinstance(written, Map) and not is_block_value(written) and "type" in written:
        return _long_param(key, written, diagnostics)
    return ParamDecl(key, None, False, written, None, key.span)


def _long_param(key: Key, written: Map, diagnostics: Diagnostics) -> ParamDecl:
    for name in written:
        if name not in _LONG:
            cure = did_you_mean(name, _LONG)
            diagnostics.error("unknown-field", f"unknown field `{name}`", name.span, help=cure)
    kind = written[Key("type", key.span)]
    word = str(kind.value) if isinstance(kind, Located) else ""
    if word.removesuffix("?") not in PARAM_TYPES:
        raise diagnostics.error(
            "wrong-type", f"`{word}` is no type of params", key.span, help=", ".join(PARAM_TYPES)
        )
    default = written.get(Key("default", key.span))
    return ParamDecl(key, word.removesuffix("?"), word.endswith("?"), default, written, key.span)


def kind_of(value: Value) -> str | None:
    """The param type of a value; None for null and for what is not computed yet."""
    match value:
        case bool():
            return "bool"
        case int() | Dim():
            return "int"
        case float() | Fraction():
            return "float"
        case str():
            return "str"
        case tuple():
            return "list"
        case Closure():
            return "block"
        case Residual() | None:
            return None
        case _:
            return "record"


def check_param(decl: ParamDecl, scope: Scope, default: Value) -> None:
    """The value that a param has been given has its declared type, or that of its default."""
    value = scope.lookup(decl.name)
    given = scope.given[decl.name]
    span = given.span
    kind = decl.kind or kind_of(default)
    found = kind_of(value)
    if value is None and not decl.nullable and decl.kind is None and default is not None and kind is not None:
        found = "null"
    if value is None and decl.kind is not None and not decl.nullable:
        found = "null"
    fits = kind is None or found is None or found == kind or (kind == "float" and found == "int")
    fits = fits or {kind, found} == {"block", "str"}
    if not fits:
        scope.unset.add(decl.name)
        scope.diagnostics.error(
            "wrong-type",
            f"the param `{decl.name}` of {scope.title} is {_article(kind)}, not `{spell(value)}`",
            span,
            notes=(
                *origins(given.value, given.scope),
                *((Note("declared here", decl.span),) if decl.span is not span else ()),
            ),
            help=_cure(kind, value),
        )
    elif decl.limits is not None:
        _check_limits(decl, value, scope, span)


def _check_limits(decl: ParamDecl, value: Value, scope: Scope, span: Span) -> None:
    assert decl.limits is not None
    limits = {str(k): scope.value(v) for k, v in decl.limits.items() if k in ("choices", "min", "max")}
    for name, limit in limits.items():
        is_number = isinstance(limit, int | float | Fraction) and not isinstance(limit, bool)
        if not (isinstance(limit, tuple) if name == "choices" else is_number):
            what = "a list" if name == "choices" else "a number"
            message = f"`{name}` of `{decl.name}` is {what}, not `{spell(limit)}`"
            raise scope.diagnostics.error("wrong-type", message, decl.limits[Key(name, decl.span)].span)
    wrong = ""
    if "choices" in limits and value not in limits["choices"]:
        wrong = "one of " + spell(limits["choices"])
    elif "min" in limits and isinstance(value, int | float) and value < limits["min"]:
        wrong = f"at least {limits['min']}"
    elif "max" in limits and isinstance(value, int | float) and value > limits["max"]:
        wrong = f"at most {limits['max']}"
    if wrong:
        scope.unset.add(decl.name)
        given = scope.given[decl.name]
        message = f"`{decl.name}` is {wrong}, not `{spell(value)}`"
        scope.diagnostics.error("bad-value", message, span, notes=origins(given.value, given.scope))


def _cure(kind: str | None, value: Value) -> str:
    """The slip that a word in place of a number or a truth value most often is."""
    if kind == "bool" and value in ("yes", "no", "on", "off", "True", "False"):
        return (
            f"write `{str(value in ('yes', 'on', 'True')).lower()}`: YAML 1.2 knows `true` and `false` only"
        )
    if kind in ("int", "float", "bool") and isinstance(value, str) and is_identifier(value):
        return f"write `={value}` for the value of a param"
    return ""


def _article(kind: str | None) -> str:
    return {"int": "an int", "list": "a list", "block": "a block"}.get(kind or "", f"a {kind}")
