"""Statements written out over their finite ranges: a whole map as literal names, with no file opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.ir.parameters import ParamValue
from compiler.ir.values import ValueFault
from compiler.syntax.expr import Name
from compiler.syntax.yaml import Key, Located, Seq
from compiler.weights.library import WeightMap
from compiler.weights.rules import Choice, Index, Maybe, Members, Template, choices, indices, members
from compiler.weights.statements import Drop, Equation, Statement, Synonym
from compiler.weights.values import evaluate_text, value_of
from compiler.weights.views import Slot

Env = Mapping[str, int | str]
MAX_RANGE = 1 << 20


@dataclass(frozen=True)
class Instance:
    """An equation between literal names.

    Where one side has several tensors, `slots` says which piece each is.
    """

    equation: Equation
    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Expansion:
    """A map for one model: every name it can mention."""

    instances: tuple[Instance, ...]
    drops: Mapping[str, Drop]
    ties: Mapping[str, tuple[str, Synonym]]  # a second copy -> the tensor it repeats
    aliases: Mapping[str, tuple[str, Synonym]]  # an older spelling -> the name the rules use
    let: Mapping[str, int]
    extents: Mapping[str, int]  # index -> how many values it takes


def expand(
    map: WeightMap, values: Mapping[str, ParamValue], absent: frozenset[str] = frozenset()
) -> Expansion:
    """All names of a map for a model with these params; optional prefixes in `absent` are left out.

    Raises CompileError for expressions without a value and for ranges that are none.
    """
    diagnostics = Diagnostics()
    scope = _Scope(map, values, diagnostics)
    expander = _Expander(scope, absent)
    for statement in map.statements:
        with diagnostics.recover():
            if all(_holds(condition, values, diagnostics) for condition in statement.when):
                expander.add(statement)
    diagnostics.check()
    extents = {name: len(ranged) for name, ranged in scope.ranges.items()}
    return Expansion(
        tuple(expander.instances), expander.drops, expander.ties, expander.aliases, scope.let, extents
    )


def _holds(condition: Located, values: Mapping[str, ParamValue], diagnostics: Diagnostics) -> bool:
    value = evaluate_text(condition, values, diagnostics)
    if not isinstance(value, bool):
        raise diagnostics.error("expr-value", f"`{value}` is no condition", condition.span)
    return value


def optional_prefixes(map: WeightMap) -> frozenset[str]:
    """The prefixes that a file may leave out."""
    found: set[str] = set()
    for statement in map.statements:
        template = statement.rule.theirs if isinstance(statement, Equation) else statement.key
        found.update(part.text for part in template if isinstance(part, Maybe))
    return frozenset(found)


class _Scope:
    """The values of `let` and the ranges of `index`, evaluated once."""

    def __init__(self, map: WeightMap, values: Mapping[str, ParamValue], diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        self.let: dict[str, int] = {}
        self.ranges: dict[str, Sequence[int | str]] = {}
        names: dict[str, Any] = dict(values)
        for key, text in map.let.items():
            with diagnostics.recover():
                self.let[key] = names[key] = self._whole(key, evaluate_text(text, names, diagnostics))
        for key, entry in map.index.items():
            with diagnostics.recover():
                self.ranges[key] = self._range(key, entry, names)
        diagnostics.check()

    def _whole(self, key: Key, value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise self.diagnostics.error("bad-value", f"`{key}` is {value!r}, not a whole number", key.span)

    def _range(self, key: Key, entry: Located | Seq, names: Mapping[str, Any]) -> Sequence[int | str]:
        if isinstance(entry, Located):
            count = self._whole(key, evaluate_text(entry, names, self.diagnostics))
            if count > MAX_RANGE:
                raise self.diagnostics.error(
                    "bad-value", f"`{key}` counts to {count}, more than {MAX_RANGE}", key.span
                )
            return range(count)
        words = [i.value for i in entry if isinstance(i, Located) and isinstance(i.value, str)]
        if not words or len(set(words)) != len(entry):
            raise self.diagnostics.error(
                "bad-value", f"`{key}` is a count, or a list of different words", key.span
            )
        return words


class _Expander:
    def __init__(self, scope: _Scope, absent: frozenset[str]) -> None:
        self.scope, self.absent = scope, absent
        self.instances: list[Instance] = []
        self.drops: dict[str, Drop] = {}
        self.ties: dict[str, tuple[str, Synonym]] = {}
        self.aliases: dict[str, tuple[str, Synonym]] = {}

    def add(self, statement: Statement) -> None:
        if isinstance(statement, Equation):
            self.instances += self._equation(statement)
        elif isinstance(statement, Drop):
            names = self._names(self._indices(statement.key), statement)
            for picks in _picks(statement.key):
                for env in names:
                    self.drops[self._render(statement.key, env, picks, 0, statement)] = statement
        else:
            self._synonym(statement)

    def _synonym(self, statement: Synonym) -> None:
        for picks in _picks(statement.key):
            for env in self._names(self._indices(statement.key), statement):
                key = self._render(statement.key, env, picks, 0, statement)
                means = self._render(statement.means, env, picks, 0, statement)
                (self.ties if statement.tie else self.aliases)[key] = (means, statement)

    def _equation(self, equation: Equation) -> Iterator[Instance]:
        rule = equation.rule
        mine, others = self._indices(rule.ours), self._indices(rule.theirs)
        shared = [name for name in others if name in mine]
        stacked = [name for name in (*others, *mine) if name not in shared]
        stacks = [
            (env, {name: self.scope.ranges[name].index(env[name]) for name in stacked})
            for env in self._names(stacked, equation)
        ]
        count = max(members(rule.theirs), members(rule.ours))
        places = [(member, env, at) for env, at in stacks for member in range(count)]
        if not places:
            return
        slots = tuple(Slot(member, at) for member, _, at in places)
        several = [
            members(side) > 1 or bool({*self._indices(side)} & {*stacked})
            for side in (rule.theirs, rule.ours)
        ]
        for picks in _picks(rule.theirs):
            for env in self._names(shared, equation):
                theirs, ours = (
                    tuple(
                        self._render(template, {**env, **inner}, picks, member, equation)
                        for member, inner, _ in (places if many else places[:1])
                    )
                    for template, many in zip((rule.theirs, rule.ours), several, strict=True)
                )
                yield Instance(equation, theirs, ours, slots)

    def _indices(self, template: Template) -> list[str]:
        return [name for name in indices(template) if name not in self.scope.let]

    def _names(self, names: Sequence[str], statement: Statement) -> list[dict[str, int | str]]:
        """Every combination of the indices' values."""
        for name in names:
            if name not in self.scope.ranges:
                raise self.scope.diagnostics.error(
                    "rule-syntax",
                    f"`{{{name}}}` is not an index",
                    statement.span,
                    help=f"declare it: `index: {{{name}: =count}}`",
                )
        ranges = [self.scope.ranges[name] for name in names]
        return [dict(zip(names, combination, strict=True)) for combination in product(*ranges)]

    def _render(
        self, template: Template, env: Env, picks: Sequence[int], member: int, statement: Statement
    ) -> str:
        texts: list[str] = []
        group = 0
        for part in template:
            match part:
                case str():
                    texts.append(part)
                case Index(text=text, expr=expr):
                    texts.append(
                        str(env[text]) if isinstance(expr, Name) else self._count(part, env, statement)
                    )
                case Choice(options=options):
                    texts.append(self._render(options[picks[group]], env, picks, member, statement))
                    group += 1
                case Members(options=options):
                    texts.append(self._render(options[member], env, picks, member, statement))
                case Maybe(text=text):
                    texts.append("" if text in self.absent else text)
        return "".join(texts)

    def _count(self, part: Index, env: Env, statement: Statement) -> str:
        """`{i + 1}`: a computed number."""
        try:
            value = value_of(part.expr, {**self.scope.let, **env})
        except ValueFault as error:
            raise self.scope.diagnostics.error(
                "expr-value", f"{{{part.text}}}: {error}", statement.span
            ) from None
        if not isinstance(value, int) or value < 0:
            raise self.scope.diagnostics.error(
                "expr-value", f"{{{part.text}}} is {value!r}, not a count", statement.span
            )
        return str(value)


def _picks(template: Template) -> list[tuple[int, ...]]:
    """Every way to choose among the alternatives; the other side chooses alike."""
    return list(product(*(range(len(choice.options)) for choice in choices(template))))
