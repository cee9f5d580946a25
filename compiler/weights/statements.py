"""The statements of a map: its rules with the prefixes of their blocks written out, checked one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.source.text import Span
from compiler.syntax.weightmap import BlockEntry, DropEntry, Entry, ReasonEntry, RuleEntry
from compiler.syntax.yaml import Key, Located
from compiler.weights.rules import (
    Rule,
    RuleError,
    Template,
    choices,
    indices,
    parse_key,
    parse_rule,
    parse_under,
)

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Equation:
    """Tensors of theirs are tensors of ours."""

    rule: Rule
    text: str
    span: Span
    when: tuple[Located, ...] = ()


@dataclass(frozen=True)
class Drop:
    """A tensor of theirs that we leave out, and why."""

    key: Template
    optional: bool
    reason: str
    span: Span
    when: tuple[Located, ...] = ()


@dataclass(frozen=True)
class Synonym:
    """tie: `key` is a second copy of `means`; alias: `key` is an older spelling of it."""

    tie: bool
    key: Template
    means: Template
    span: Span
    when: tuple[Located, ...] = ()


Statement = Equation | Drop | Synonym


@dataclass(frozen=True)
class Scope:
    """What the blocks around a statement add to it."""

    theirs: Template = ()
    ours: Template = ()
    when: tuple[Located, ...] = ()


@dataclass(frozen=True)
class Reader:
    """Turns blocks into statements; `fragment` yields the blocks that an include names."""

    diagnostics: Diagnostics
    fragment: Callable[[Located], Sequence[BlockEntry]]
    let: Collection[str]

    def block(self, block: BlockEntry, scope: Scope) -> list[Statement]:
        """All statements of a block, those of its inner blocks and fragments included."""
        if block.under is not None:
            theirs, ours = self._parse(parse_under, block.under) or ((), ())
            scope = replace(scope, theirs=scope.theirs + theirs, ours=scope.ours + ours)
        if block.when is not None:
            scope = replace(scope, when=(*scope.when, block.when))
        found: list[Statement] = []
        for name in block.include:
            for part in self.fragment(name):
                found += self.block(part, scope)
        for entry in block.rules:
            found += self._entry(entry, scope)
        found += [d for key, drop in block.drop.items() for d in self._drop(key, drop, scope)]
        for tie, pairs in ((True, block.tie), (False, block.alias)):
            found += [s for key, means in pairs.items() for s in self._synonym(tie, key, means, scope)]
        return found

    def _entry(self, entry: Entry, scope: Scope) -> list[Statement]:
        if isinstance(entry, BlockEntry):
            return self.block(entry, scope)
        text, when = (entry.map, entry.when) if isinstance(entry, RuleEntry) else (entry, None)
        rule = self._parse(parse_rule, text)
        if rule is None:
            return []
        rule = replace(rule, theirs=scope.theirs + rule.theirs, ours=scope.ours + rule.ours)
        if not self._zips(rule, text.span) or not self._binds(rule, text.span):
            return []
        return [Equation(rule, str(text.value), text.span, _when(scope, when))]

    def _drop(self, key: Key, entry: DropEntry, scope: Scope) -> list[Drop]:
        reason, when = (entry.reason, entry.when) if isinstance(entry, ReasonEntry) else (entry, None)
        parsed = self._parse(parse_key, _as_text(key))
        if not str(reason.value).strip():
            self.diagnostics.error("bad-value", "a drop needs its reason", reason.span)
        if parsed is None:
            return []
        template, optional = parsed
        return [Drop(scope.theirs + template, optional, str(reason.value), key.span, _when(scope, when))]

    def _synonym(self, tie: bool, key: Key, means: Located, scope: Scope) -> list[Synonym]:
        left, right = self._parse(parse_key, _as_text(key)), self._parse(parse_key, means)
        if left is None or right is None:
            return []
        rule = Rule(scope.theirs + left[0], scope.theirs + right[0], None, False)
        if not self._zips(rule, key.span) or not self._binds(rule, key.span):
            return []
        return [Synonym(tie, rule.theirs, rule.ours, key.span, scope.when)]

    def _parse(self, parse: Callable[[str], Parsed], text: Located) -> Parsed | None:
        try:
            return parse(str(text.value))
        except RuleError as error:
            span = text.part(error.start, error.end)
            self.diagnostics.error("rule-syntax", error.message, span, help=error.help)
            return None

    def _zips(self, rule: Rule, span: Span) -> bool:
        theirs = [len(choice.options) for choice in choices(rule.theirs)]
        ours = [len(choice.options) for choice in choices(rule.ours)]
        if theirs == ours:
            return True
        self.diagnostics.error(
            "rule-syntax",
            f"the alternatives do not pair up: {_counts(theirs)} on the left, {_counts(ours)} on the right",
            span,
            help="the k-th (a|b) of each side go together; several in one tensor are [a|b]",
        )
        return False

    def _binds(self, rule: Rule, span: Span) -> bool:
        """Each index stands on both sides, or is a stack axis of the side that lacks it."""
        theirs, ours = (set(indices(side)) - set(self.let) for side in (rule.theirs, rule.ours))
        stack_theirs = set(rule.layout.theirs_stack) if rule.layout else set[str]()
        stack_ours = set(rule.layout.ours_stack) if rule.layout else set[str]()
        wrong = sorted((theirs - ours) ^ stack_ours) + sorted((ours - theirs) ^ stack_theirs)
        if not wrong:
            return True
        names = ", ".join("{" + name + "}" for name in wrong)
        self.diagnostics.error(
            "rule-syntax",
            f"the index {names} stands on one side only",
            span,
            help="an index names a tensor on both sides, or is a stack axis of the side without it",
        )
        return False


def _when(scope: Scope, when: Located | None) -> tuple[Located, ...]:
    return scope.when if when is None else (*scope.when, when)


def _as_text(key: Key) -> Located:
    return Located(str(key), key.span, str(key), quoted=_quoted(key))


def _quoted(key: Key) -> bool:
    return key.span.file.line(key.span.line)[key.span.column - 1 : key.span.column] in ("'", '"')


def _counts(lengths: Sequence[int]) -> str:
    return "none" if not lengths else " and ".join(f"({length})" for length in lengths)
