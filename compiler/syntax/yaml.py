"""YAML 1.2 text as plain data in which everything remembers its place.

Built on libyaml's event stream, not on its composer: the composer recurses (and dies) on deep nesting,
resolves YAML 1.1 scalars (`no` is False, `1e-5` a string) and keeps the last of two equal keys without a
word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from compiler.diagnostics.diagnostic import Note, fail
from compiler.source.text import SourceFile, Span

MAX_BYTES = 4 << 20
MAX_DEPTH = 64
MAX_DIGITS = 64  # of a number

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Located:
    """A scalar and its place. `text` is how it was written; `quoted` strings are never numbers."""

    value: Scalar
    span: Span
    text: str = ""
    quoted: bool = False

    def part(self, start: int, end: int) -> Span:
        """The place of the characters [start, end) of a string value."""
        shift = 1 if self.quoted else 0
        return self.span.part(start + shift, end + shift)


class Key(str):
    """A mapping key that remembers its place."""

    span: Span

    def __new__(cls, text: str, span: Span) -> Key:
        """The key `text` that stands at `span`."""
        key = super().__new__(cls, text)
        key.span = span
        return key

    def __getnewargs__(self) -> tuple[str, Span]:  # type: ignore[override]
        """What copying and pickling make the key from."""
        return str(self), self.span


class Map(dict[Key, Any]):
    """A mapping and its place: Key -> Located | Map | Seq."""

    span: Span


class Seq(list[Any]):
    """A sequence and its place."""

    span: Span


Yaml = Located | Map | Seq

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_RADIX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_NUMBER = re.compile(r"[-+.]?[0-9]")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL = {".inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def parse_yaml(file: SourceFile) -> list[Map]:
    """The documents of a file, each a mapping. Raises CompileError with the place of the first fault."""
    _check_text(file)
    documents: list[Map] = []
    try:
        for document in _documents(file):
            if not isinstance(document, Map):
                raise fail(
                    "yaml-syntax",
                    "the document is not a mapping",
                    document.span,
                    help="begin with `spec: NAME`, `block: NAME` or `weightmap: 1`",
                )
            documents.append(document)
    except yaml.MarkedYAMLError as error:
        raise _syntax_fault(file, error) from None
    except yaml.YAMLError as error:
        raise fail("yaml-syntax", str(error).splitlines()[0], _point(file, None)) from None
    if not documents:
        raise fail("yaml-syntax", "the file is empty", Span(file, 1, 1, 1, 2))
    return documents


def _check_text(file: SourceFile) -> None:
    if len(file.text) > MAX_BYTES:
        raise fail("yaml-limit", f"the file is larger than {MAX_BYTES >> 20} MiB", None)
    bad = _FORBIDDEN.search(file.text)
    if bad:
        lines = file.text[: bad.end()].replace(bad[0], "?").splitlines()
        line, column = len(lines), len(lines[-1])
        raise fail(
            "yaml-syntax",
            f"invisible character U+{ord(bad[0]):04X}",
            Span(file, line, column, line, column + 1),
            help="remove it",
        )


def _documents(file: SourceFile) -> Iterator[Yaml]:
    """Trees of the event stream, made with an explicit stack of open collections."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    open_: list[Map | Seq] = []
    keys: list[Key | None] = []
    flows: list[bool] = []
    for event in yaml.parse(file.text, Loader=loader):
        node: Yaml | None = None
        if isinstance(event, yaml.AliasEvent):
            raise _refuse(
                file, event, f"alias `*{event.anchor}`", "write the value out, or name it under `let`"
            )
        if isinstance(event, yaml.NodeEvent):
            _check_node(file, event)
        if isinstance(event, yaml.ScalarEvent):
            node = _scalar(file, event)
            _check_whole(node, flow=bool(flows and flows[-1]))
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(open_) >= MAX_DEPTH:
                raise fail("yaml-limit", f"nesting deeper than {MAX_DEPTH}", _span(file, event))
            collection = Map() if isinstance(event, yaml.MappingStartEvent) else Seq()
            collection.span = _span(file, event)
            open_.append(collection)
            keys.append(None)
            flows.append(bool(event.flow_style))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            node = open_.pop()
            keys.pop()
            flows.pop()
            node.span = _join(node.span, file, event)
        if node is None:
            continue
        if not open_:
            yield node
        else:
            keys[-1] = _place(open_[-1], keys[-1], node)


def _place(parent: Map | Seq, key: Key | None, node: Yaml) -> Key | None:
    """Put a finished node into its parent; returns the mapping key that waits for its value."""
    if isinstance(parent, Seq):
        parent.append(node)
        return None
    if key is None:
        return _key(parent, node)
    parent[key] = node
    return None


def _key(parent: Map, node: Yaml) -> Key:
    if not isinstance(node, Located):
        raise fail("yaml-key", "a key must be a plain word", node.span)
    text = node.value if isinstance(node.value, str) else node.text
    key = Key(text, node.span)
    if text == "<<" and not node.quoted:
        raise fail(
            "yaml-alias", "merge keys are not part of the language", node.span, help="use `extends` or `let`"
        )
    if key in parent:
        first = next(k for k in parent if k == key)
        raise fail(
            "yaml-duplicate-key",
            f"the key `{text}` stands twice in one mapping",
            node.span,
            notes=(Note("it stands first here", first.span),),
            help="remove one of them",
        )
    return key


def _scalar(file: SourceFile, event: yaml.ScalarEvent) -> Located:
    span = _span(file, event)
    if event.style:
        return Located(event.value, span, event.value, quoted=event.style in "'\"")
    if _NUMBER.match(event.value) and len(event.value) > MAX_DIGITS:
        raise fail("yaml-limit", f"a number of more than {MAX_DIGITS} characters", span)
    return Located(_resolve(event.value), span, event.value)


def _check_whole(scalar: Located, flow: bool) -> None:
    """In a flow collection a comma ends a plain scalar: refuse an expression that was cut in two there."""
    text = scalar.text
    if not flow or scalar.quoted or not text.startswith("=") or text.count("(") <= text.count(")"):
        return
    end = scalar.span
    after = end.file.line(end.end_line)[end.end_column - 1 :]
    if after.lstrip()[:1] != ",":
        return
    raise fail(
        "expr-syntax",
        f"a comma inside {{ }} or [ ] ends the value: the expression is cut to `{text}`",
        end,
        help="quote expressions that contain a comma",
    )


def _resolve(text: str) -> Scalar:
    """A plain scalar by the core schema of YAML 1.2."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.match(text):
        return int(text)
    if _RADIX.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)


def _check_node(file: SourceFile, event: Any) -> None:
    if event.anchor is not None:
        raise _refuse(file, event, f"anchor `&{event.anchor}`", "name the value under `let` instead")
    if event.tag is not None and event.tag != "!":
        raise fail(
            "yaml-tag",
            f"the tag `{event.tag}` is not part of the language",
            _span(file, event),
            help="remove it",
        )


def _refuse(file: SourceFile, event: Any, what: str, cure: str) -> Exception:
    return fail(
        "yaml-alias",
        f"{what}: anchors and aliases are not part of the language",
        _span(file, event),
        help=cure,
    )


def _syntax_fault(file: SourceFile, error: yaml.MarkedYAMLError) -> Exception:
    """The parser's complaint, where the collection that it was in began, and what usually cures it."""
    problem = error.problem or "not YAML"
    at = _point(file, error.problem_mark or error.context_mark)
    cure = ""
    if "mapping values are not allowed" in problem:
        cure = "a `:` inside a value needs quotes, or the line is indented wrongly"
    elif "did not find expected ',' or" in problem:
        cure = "close the bracket; inside { } and [ ], quote expressions that hold a comma, `?` or brackets"
    elif file.line(at.line)[at.column - 1 : at.column] == "\t":
        problem, cure = "a tab stands where spaces are expected", "indent with spaces"
    notes: tuple[Note, ...] = ()
    if error.context and error.context_mark is not None and _point(file, error.context_mark) != at:
        notes = (Note(error.context, _point(file, error.context_mark)),)
    return fail("yaml-syntax", problem, at, notes=notes, help=cure)


def _span(file: SourceFile, event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    end_column = end.column + 1
    if end.line == start.line and end_column <= start.column + 1:
        end_column = start.column + 2
    return Span(file, start.line + 1, start.column + 1, end.line + 1, end_column)


def _join(span: Span, file: SourceFile, event: Any) -> Span:
    end = event.end_mark
    return Span(file, span.line, span.column, end.line + 1, end.column + 1)


def _point(file: SourceFile, mark: Any) -> Span:
    """A mark as a span of one character; one behind the text is put at the end of its last line."""
    if mark is None:
        return Span(file, 1, 1, 1, 2)
    line, column = mark.line + 1, mark.column + 1
    if line > len(file.lines):
        line, column = max(1, len(file.lines)), len(file.line(len(file.lines))) + 1
    return Span(file, line, column, line, column + 1)
