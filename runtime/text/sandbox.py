"""Templates that strangers wrote, rendered without trust: no way out of them, and an end to their work."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_environment

#: What one rendering may do: turns of loops and calls; characters (or items) of any value that it makes,
#: and bits of a number.
MAX_STEPS: Final = 200_000
MAX_LENGTH: Final = 4_000_000
MAX_BITS: Final = 4096
_WIDE: Final = re.compile(r"[0-9]{7}")


def render(template: str, values: Mapping[str, Any]) -> str:
    """The text of a template. Raises jinja2's TemplateError, SecurityError among them, and whatever its
    expressions raise.
    """
    environment = _Environment()
    pieces, length = [], 0
    for piece in environment.from_string(_counted(environment.parse(template))).generate(values):
        length += len(piece)
        environment.bound(length)
        pieces.append(piece)
    return "".join(pieces)


class _Generation(Extension):
    """`{% generation %}`, which marks what a model wrote, for training; to a reader it is nothing."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """The names that chat templates are written with, and one rendering's budget."""

    intercepted_binops = frozenset({"+", "*", "%", "**"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        self.steps = 0
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        del self.globals["lipsum"]  # text without end, and a way into the library's own module
        self.filters |= {"tojson": _to_json, "$turns": _turns, "$made": _made, "$asked": _asked}

    def step(self) -> None:
        """One turn of a loop, or a call."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise SecurityError(f"it goes on after {MAX_STEPS} steps")

    def bound(self, length: int) -> None:
        """Something is that long."""
        if length > MAX_LENGTH:
            raise SecurityError(f"it makes more than {MAX_LENGTH} characters")

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refused here and not where it is used: printed, an undefined value is only an empty text."""
        raise SecurityError(f"it reaches for `{attribute}` of a {type(obj).__name__}")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator whose result may be larger than what it is made of."""
        sizes = [len(side) if isinstance(side, str | list | tuple) else None for side in (left, right)]
        match operator, sizes:
            case "+", [int(a), int(b)]:
                self.bound(a + b)
            case "*", [int(a), None]:
                self.bound(a * right)
            case "*", [None, int(b)]:
                self.bound(left * b)
            case "%", _ if isinstance(left, str) and _WIDE.search(left):
                raise SecurityError(f"it makes more than {MAX_LENGTH} characters")
            case "**", _ if isinstance(left, int) and left.bit_length() * right > MAX_BITS:
                raise SecurityError(f"it takes a number to the power of {right}")
        return super().call_binop(context, operator, left, right)


def _counted(tree: nodes.Template) -> nodes.Template:
    """A template in which loops are counted, and what calls, filters and `~` make is measured."""
    for parent in list(tree.find_all(nodes.Node)):
        for name, value in list(parent.iter_fields()):
            if isinstance(parent, nodes.For) and name == "iter":
                parent.iter = _filter(value, "$turns")
            elif isinstance(value, _GROWING) and not isinstance(parent, nodes.CallBlock):
                setattr(parent, name, _filter(value, "$made"))
            elif isinstance(value, list):
                value[:] = [_filter(v, "$made") if isinstance(v, _GROWING) else v for v in value]
        if isinstance(parent, nodes.Call | nodes.Filter):
            parent.args[:] = [_filter(arg, "$asked") for arg in parent.args]
            for named in parent.kwargs:
                named.value = _filter(named.value, "$asked")
    return tree


_GROWING: Final = (nodes.Call, nodes.Filter, nodes.Concat)


def _filter(value: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)


class _Turns:
    """What a loop goes through, counted."""

    def __init__(self, environment: _Environment, items: Iterable[Any]) -> None:
        self.environment = environment
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            self.environment.step()
            yield item

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type] # TypeError where there is none, as ever


@pass_environment
def _turns(environment: _Environment, items: Iterable[Any]) -> _Turns:
    return _Turns(environment, items)


@pass_environment
def _made(environment: _Environment, value: Any) -> Any:
    environment.step()
    if isinstance(value, str | list | tuple | dict):
        environment.bound(len(value))
    return value


@pass_environment
def _asked(environment: _Environment, value: Any) -> Any:
    """An argument: no text is made that wide, no list that long."""
    if isinstance(value, int):
        environment.bound(value)
    return value


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, where jinja2's own filter writes it for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
