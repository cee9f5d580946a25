"""The faults of a plan: collected one by one, reported together, equal layers as one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import cast

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.ir.parameters import Parameter, ParameterTable
from compiler.source.text import Span
from compiler.weights.expand import Instance
from compiler.weights.fold import Folded, fold
from compiler.weights.header import Header
from compiler.weights.library import WeightMap
from compiler.weights.statements import Drop, Equation, Statement, Synonym
from compiler.weights.views import Shape

MAX_NEAR = 400


@dataclass(frozen=True)
class _Mismatch:
    """What a tensor of the file is and what it should be; layers with equal ones are reported as one."""

    equation: int
    found: str
    wanted: str
    declared: Span | None


@dataclass
class Faults:
    """What a planner found, by kind; `report` ends the phase."""

    map: WeightMap
    table: ParameterTable
    header: Header | None
    diagnostics: Diagnostics
    _spans: dict[str, Span] = field(default_factory=dict[str, Span])
    _equations: dict[int, Equation] = field(default_factory=dict[int, Equation])
    _missing: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    _unexpected: list[str] = field(default_factory=list[str])
    _dangling: list[tuple[str, Span]] = field(default_factory=list[tuple[str, Span]])
    _nameless: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    _collisions: list[tuple[str, tuple[Span, Span]]] = field(
        default_factory=list[tuple[str, tuple[Span, Span]]]
    )
    _mismatches: list[tuple[str, _Mismatch]] = field(default_factory=list[tuple[str, _Mismatch]])
    _axes: list[tuple[str, tuple[int, str, tuple[Shape, ...]]]] = field(
        default_factory=list[tuple[str, tuple[int, str, tuple[Shape, ...]]]]
    )

    def missing(self, instance: Instance, keys: Sequence[str]) -> None:
        """The checkpoint lacks what a rule reads."""
        self._missing += [(key, self._number(instance.equation)) for key in keys]

    def unexpected(self, keys: Sequence[str]) -> None:
        """The checkpoint holds what no statement explains."""
        self._unexpected += keys

    def nameless(self, equation: Equation, keys: Sequence[str]) -> None:
        """The rule names tensors that the model does not have."""
        self._nameless += [(key, self._number(equation)) for key in keys]

    def collides(self, key: str, first: Statement, second: Statement) -> None:
        """Two statements, or two tensors of one, have the same name."""
        self._collisions.append((key, (first.span, second.span)))

    def axes(self, equation: Equation, message: str, ours: Sequence[str], shapes: tuple[Shape, ...]) -> None:
        """The sizes of a layout do not follow or do not agree."""
        self._axes.append((ours[0], (self._number(equation), message, shapes)))

    def shape(self, instance: Instance, key: str, found: Shape, wanted: Shape) -> None:
        """A tensor of theirs has another shape than ours asks for."""
        self._mismatch(instance, key, str(list(found)), str(list(wanted)))

    def dtype(self, instance: Instance, key: str, found: str, wanted: str) -> None:
        """A tensor of theirs has a type that ours cannot take."""
        self._mismatch(instance, key, found, wanted)

    def tie(self, synonym: Synonym, copy: str, first: str) -> None:
        """A second copy that cannot be one."""
        self.diagnostics.error(
            "tie-broken",
            f"`{copy}` is declared a copy of `{first}`, but has another shape or type",
            synonym.span,
        )

    def dangling(self, means: str, synonym: Synonym) -> None:
        """A tie or an alias whose other name no rule knows."""
        self._dangling.append((means, synonym.span))

    def idle(self, drop: Drop, keys: Sequence[str]) -> None:
        """A drop that has nothing to drop."""
        name = fold((key, 0) for key in keys)[0].name
        self.diagnostics.error(
            "rule-unused",
            f"the checkpoint has no `{name}` to drop",
            drop.span,
            help="end the name with `?` if it may be absent",
        )

    def unclaimed(self, parameters: Sequence[Parameter]) -> None:
        """Tensors of the model that no rule gives."""
        spans = {p.name: p.span for p in parameters}
        for folded in fold((p.name, p.span) for p in parameters):
            span = folded.value if isinstance(folded.value, Span) else spans[folded.name]
            self.diagnostics.error(
                "key-missing",
                f"no rule of the map {self.map.name} gives {folded}",
                span,
                notes=(Note("the map", self.map.span),),
            )

    def report(self) -> None:
        """Raise CompileError if anything was found."""
        for folded in fold(self._collisions):
            first, second = cast(tuple[Span, Span], folded.value)
            self.diagnostics.error(
                "rule-collision",
                f"two statements claim {folded}",
                second,
                notes=(Note("the other one", first),),
            )
        for folded in fold(self._dangling):
            self.diagnostics.error(
                "rule-unused", f"no rule mentions {folded}, which stands here", cast(Span, folded.value)
            )
        for folded in fold(self._nameless):
            self._report_nameless(folded)
        for folded in fold(self._axes):
            self._report_axes(folded)
        for folded in fold(self._mismatches):
            self._report_mismatch(folded)
        self._report_keys()
        self.diagnostics.check()

    def _report_nameless(self, folded: Folded) -> None:
        equation = self._equation(folded.value)
        self.diagnostics.error(
            "rule-unused",
            f"the rule gives {folded}, which the spec {self.table.spec} does not have",
            equation.span,
            help=_near(folded.name, [f.name for f in fold((p.name, 0) for p in self.table.parameters)])
            or "end the rule's name with `?` if the tensor may be absent",
        )

    def _report_axes(self, folded: Folded) -> None:
        number, message, _ = cast(tuple[int, str, tuple[Shape, ...]], folded.value)
        equation = self._equation(number)
        notes = (Note("the spec declares it here", self._declared(folded.name)),) if folded.count == 1 else ()
        self.diagnostics.error("rule-axes", f"{folded}: {message}", equation.span, notes=notes)

    def _report_mismatch(self, folded: Folded) -> None:
        mismatch = folded.value
        assert isinstance(mismatch, _Mismatch)
        self.diagnostics.error(
            "key-mismatch",
            f"{folded} is {mismatch.found} in the file, the spec {self.table.spec} needs {mismatch.wanted}",
            self._equation(mismatch.equation).span,
            notes=(Note("the spec declares it here", mismatch.declared),),
        )

    def _report_keys(self) -> None:
        """Missing and unexpected names; those that look like one another are shown together."""
        unexpected = fold((key, 0) for key in self._unexpected)
        near = _matcher([folded.name for folded in unexpected])
        paired: set[str] = set()
        for folded in fold(self._missing):
            other = near(folded.name)
            paired.add(other)
            self.diagnostics.error(
                "key-missing",
                f"the checkpoint lacks {folded}",
                self._equation(folded.value).span,
                help=f"it has `{other}`, which no rule mentions" if other else "",
            )
        for folded in unexpected:
            if folded.name in paired:
                continue
            self.diagnostics.error(
                "key-unexpected",
                f"no rule of the map {self.map.name} mentions {folded}",
                self.map.span,
                help="add a rule, or name it under `drop` with a reason",
            )

    def _mismatch(self, instance: Instance, key: str, found: str, wanted: str) -> None:
        ours = self.table.ties.get(instance.ours[0], instance.ours[0])
        self._mismatches.append(
            (key, _Mismatch(self._number(instance.equation), found, wanted, self._declared(ours)))
        )

    def _number(self, equation: Equation) -> int:
        self._equations[id(equation)] = equation
        return id(equation)

    def _equation(self, number: Hashable) -> Equation:
        assert isinstance(number, int)
        return self._equations[number]

    def _declared(self, name: str) -> Span | None:
        if not self._spans:
            self._spans.update((p.name, p.span) for p in self.table.parameters)
        return self._spans.get(name)


def _near(name: str, candidates: Sequence[str]) -> str:
    found = _matcher(candidates)(name)
    return f"did you mean `{found}`?" if found else ""


def _matcher(candidates: Sequence[str]) -> Callable[[str], str]:
    """The nearest of some names: one that only lacks a prefix, else by likeness in a cut list."""
    some = list(candidates[:MAX_NEAR])

    def near(name: str) -> str:
        for other in some:
            if name.endswith("." + other) or other.endswith("." + name):
                return other
        return next(iter(get_close_matches(name, some, n=1, cutoff=0.6)), "")

    return near
