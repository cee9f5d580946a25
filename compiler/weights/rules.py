"""The rule grammar: names with holes on both sides, and a layout between them.

    rule     := side " <> " side [ " as " layout ]
    side     := text with {i} (an index, or {i+1}), (a|b) zipped alternatives, [a|b] members, a final ?

Everything else is literal: there are no regular expressions, and matching is by expansion over known ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from compiler.syntax.expr import Expr, ExprError, free_names, parse_expr
from compiler.weights.layout import Layout, LayoutError, parse_layout

SEPARATOR = " <> "
AS = " as "


class RuleError(Exception):
    """A fault in the text of a rule at [start, end)."""

    def __init__(self, message: str, start: int, end: int, help: str = "") -> None:
        super().__init__(message)
        self.message, self.start, self.end, self.help = message, start, end, help


@dataclass(frozen=True)
class Index:
    """`{i}` or `{i + 1}`."""

    text: str
    expr: Expr


@dataclass(frozen=True)
class Choice:
    """`(a|b)`: the k-th group of one side goes with the k-th of the other."""

    options: tuple[Template, ...]


@dataclass(frozen=True)
class Members:
    """`[a|b]`: several tensors here are one tensor on the other side."""

    options: tuple[Template, ...]


@dataclass(frozen=True)
class Maybe:
    """A prefix that all keys of a file carry or none."""

    text: str


Template = tuple[str | Index | Choice | Members | Maybe, ...]


@dataclass(frozen=True)
class Rule:
    """theirs <> ours; without a layout the tensors are equal as they stand."""

    theirs: Template
    ours: Template
    layout: Layout | None
    optional: bool


@lru_cache(maxsize=4096)
def parse_rule(text: str) -> Rule:
    """Raises RuleError."""
    left, right, at = _split(text)
    right, mark, layout_text = right.partition(AS)
    layout = None
    if mark:
        layout_at = at + len(right) + len(mark)
        try:
            layout = parse_layout(layout_text)
        except LayoutError as error:
            raise RuleError(
                error.message, layout_at + error.start, layout_at + error.end, error.help
            ) from None
    theirs, left_optional = _side(left, 0)
    ours, right_optional = _side(right, at)
    rule = Rule(theirs, ours, layout, left_optional or right_optional)
    _check_names(rule, text)
    return rule


@lru_cache(maxsize=1024)
def parse_under(text: str) -> tuple[Template, Template]:
    """The prefixes of a block; a `?` after theirs says that a file may leave it out. Raises RuleError."""
    left, right, at = _split(text)
    theirs, optional = _side(left, 0)
    ours, ours_optional = _side(right, at)
    if ours_optional:
        raise RuleError("only their prefix may be optional", at, len(text))
    if optional:
        if len(theirs) != 1 or not isinstance(theirs[0], str):
            raise RuleError("an optional prefix is plain text", 0, len(left))
        theirs = (Maybe(theirs[0]),)
    return theirs, ours


@lru_cache(maxsize=4096)
def parse_key(text: str) -> tuple[Template, bool]:
    """A name of their side alone, for drop, tie and alias, and whether it is optional. Raises RuleError."""
    template, optional = _side(text, 0)
    if any(isinstance(part, Members) for part in template):
        raise RuleError("members [a|b] belong in rules; write (a|b)", 0, len(text))
    return template, optional


def choices(template: Template) -> list[Choice]:
    """The alternatives of a side, from left to right."""
    return [part for part in template if isinstance(part, Choice)]


def members(template: Template) -> int:
    """How many tensors a side names at once."""
    return next((len(part.options) for part in template if isinstance(part, Members)), 1)


def indices(template: Template) -> list[str]:
    """The index names in a template, in order of first appearance."""
    names: dict[str, None] = {}
    for part in template:
        if isinstance(part, Index):
            names.update(dict.fromkeys(sorted(free_names(part.expr))))
        elif isinstance(part, Choice | Members):
            for option in part.options:
                names.update(dict.fromkeys(indices(option)))
    return list(names)


def _split(text: str) -> tuple[str, str, int]:
    """Both sides, and where the right one begins."""
    count = text.count(SEPARATOR)
    if count == 1:
        left, right = text.split(SEPARATOR)
        return left, right, len(left) + len(SEPARATOR)
    if count == 0:
        raise RuleError(
            "a rule is `their name <> our name`", 0, len(text), "an empty side keeps its space: `x. <> `"
        )
    raise RuleError("a rule has one ` <> `", text.rindex(SEPARATOR), text.rindex(SEPARATOR) + len(SEPARATOR))


def _side(text: str, at: int) -> tuple[Template, bool]:
    optional = text.endswith("?")
    template = _template(text.removesuffix("?"), at, groups=True)
    if sum(isinstance(part, Members) for part in template) > 1:
        raise RuleError("a side has one group of members", at, at + len(text))
    return template, optional


def _template(text: str, at: int, *, groups: bool) -> Template:
    parts: list[str | Index | Choice | Members | Maybe] = []
    position = literal = 0
    while position < len(text):
        char = text[position]
        if char not in "{([}])?|":
            position += 1
            continue
        if literal < position:
            parts.append(text[literal:position])
        close = {"{": "}", "(": ")", "[": "]"}.get(char)
        end = text.find(close, position) if close else -1
        if close is None or end < 0 or (char != "{" and not groups):
            open_ = close is not None and end < 0 and (char == "{" or groups)
            what = f"`{char}` is not closed" if open_ else f"`{char}` has no meaning here"
            raise RuleError(what, at + position, at + position + 1)
        inner = text[position + 1 : end]
        parts.append(
            _index(inner, at + position + 1) if char == "{" else _group(char, inner, at + position + 1)
        )
        position = literal = end + 1
    if literal < len(text):
        parts.append(text[literal:])
    return tuple(parts)


def _index(text: str, at: int) -> Index:
    try:
        return Index(text, parse_expr(text))
    except ExprError as error:
        raise RuleError(error.message, at + error.start, at + error.end, error.help) from None


def _group(kind: str, inner: str, at: int) -> Choice | Members:
    options: list[Template] = []
    for text in inner.split("|"):
        options.append(_template(text, at, groups=False))
        at += len(text) + 1
    if len(set(options)) != len(options):
        raise RuleError("two alternatives are equal", at - len(inner) - 1, at - 1)
    return Choice(tuple(options)) if kind == "(" else Members(tuple(options))


def _check_names(rule: Rule, text: str) -> None:
    """What can be said of a rule without the prefixes around it: members and layout fit each other."""
    counts = (members(rule.theirs), members(rule.ours))
    if min(counts) > 1:
        raise RuleError("members stand on one side only", 0, len(text))
    if rule.layout is None:
        if max(counts) > 1:
            raise RuleError(
                "members need a layout",
                0,
                len(text),
                "say how they make one tensor, such as `as [n|n] d -> * d`",
            )
        return
    on_ours = counts[0] > 1
    wanted = max(counts)
    summed = rule.layout.ours_sum if on_ours else rule.layout.theirs_sum
    other = rule.layout.theirs_sum if on_ours else rule.layout.ours_sum
    if len(other) > 0 or (len(summed) or 1) != wanted:
        raise RuleError(
            f"the layout has a sum of {len(summed) or len(other)} axes, the rule {wanted} members",
            0,
            len(text),
        )
