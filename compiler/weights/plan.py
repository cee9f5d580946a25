"""Map x parameter table x checkpoint header -> LoadPlan, or every reason why there is none, in one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.ir.parameters import ParameterTable
from compiler.weights.expand import Instance, expand
from compiler.weights.faults import Faults
from compiler.weights.header import Header
from compiler.weights.layout import Layout
from compiler.weights.library import WeightMap
from compiler.weights.load_plan import FLOATS, MODULE_FLOAT, Cast, Dropped, Group, LoadPlan, Move, TensorSpec
from compiler.weights.matching import Matched, match
from compiler.weights.rules import members
from compiler.weights.statements import Drop, Equation
from compiler.weights.views import AxesError, Piece, Shape, identity, piece, shapes, solve


def plan(map: WeightMap, table: ParameterTable, header: Header, dtype: str | None = None) -> LoadPlan:
    """How a checkpoint's tensors become the module's; floats in `dtype`, or as the file has them.

    Raises CompileError with every fault: missing, unexpected, ill-shaped tensors, collisions, unused rules.
    """
    diagnostics = Diagnostics()
    matched = match(map, table.values, header.tensors, diagnostics)
    planner = _Planner(map, table, matched, header, dtype, Faults(map, table, header, diagnostics))
    return planner.plan()


def plan_export(map: WeightMap, table: ParameterTable) -> LoadPlan:
    """How the module's tensors become a checkpoint of this dialect where no file was loaded.

    Raises CompileError.
    """
    diagnostics = Diagnostics()
    if map.readonly:
        diagnostics.error("cannot-export", f"the dialect {map.dialect} is read, never written", map.span)
        diagnostics.check()
    matched = Matched(expand(map, table.values), {})
    return _Planner(map, table, matched, None, None, Faults(map, table, None, diagnostics)).plan()


@dataclass(frozen=True)
class Fit:
    """A layout on the shapes at hand: one piece per slot, and the shapes that theirs must have."""

    pieces: tuple[Piece, ...]
    theirs: tuple[Shape, ...]


@dataclass
class _Planner:
    map: WeightMap
    table: ParameterTable
    matched: Matched
    header: Header | None
    dtype: str | None
    faults: Faults
    groups: list[Group] = field(default_factory=list[Group])
    ours: dict[str, TensorSpec] = field(default_factory=dict[str, TensorSpec])
    theirs: dict[str, TensorSpec] = field(default_factory=dict[str, TensorSpec])
    casts: list[Cast] = field(default_factory=list[Cast])
    claimed: dict[str, Instance] = field(default_factory=dict[str, Instance])
    used: set[str] = field(default_factory=set[str])
    fits: dict[tuple[object, ...], Fit | str] = field(default_factory=dict[tuple[object, ...], "Fit | str"])

    def plan(self) -> LoadPlan:
        named = {name for instance in self.matched.expansion.instances for name in instance.ours}
        own = [p for p in self.table.parameters if not p.adapter or p.name in named]
        self.ours = {p.name: TensorSpec(p.shape, p.dtype) for p in own}
        self._collisions()
        for instance in self.matched.expansion.instances:
            self._instance(instance)
        self._ties()
        dropped = self._drops()
        self._coverage()
        self.faults.report()
        order = self.header.tensors if self.header else self.theirs
        return LoadPlan(
            self.map.name,
            self.map.readonly,
            self.dtype,
            tuple(self.groups),
            self.ours,
            {key: self.theirs[key] for key in order if key in self.theirs},
            tuple(self.casts),
            dropped,
        )

    def _collisions(self) -> None:
        """Each name belongs to one tensor of one statement, on both sides."""
        expansion = self.matched.expansion
        theirs: dict[str, Instance | Drop] = dict(expansion.drops)
        for instance in expansion.instances:
            for key in _repeated(instance.theirs) + _repeated(instance.ours):
                self.faults.collides(key, instance.equation, instance.equation)
            for key in instance.theirs:
                first = theirs.setdefault(key, instance)
                if first is not instance:
                    self.faults.collides(key, _statement(first), instance.equation)
            for key in instance.ours:
                other = self.claimed.setdefault(key, instance)
                if other is not instance:
                    self.faults.collides(key, other.equation, instance.equation)
        for key, (means, synonym) in {**expansion.ties, **expansion.aliases}.items():
            if key in theirs:
                self.faults.collides(key, _statement(theirs[key]), synonym)
            if means not in theirs:
                self.faults.dangling(means, synonym)

    def _instance(self, instance: Instance) -> None:
        known = [key in self.ours for key in instance.ours]
        tied = [key in self.table.ties for key in instance.ours]
        present = [self.header is None or key in self.matched.actual for key in instance.theirs]
        if not any(known) and not any(tied):
            if not instance.equation.rule.optional:
                self._nameless(instance, instance.ours)
            return
        if not all(known) and not all(tied):
            names = [
                k for k, ours, alias in zip(instance.ours, known, tied, strict=True) if not ours and not alias
            ]
            self._nameless(instance, names or instance.ours)
            return
        if all(tied) and (self.header is None or not any(present)):
            return
        self.used.update(instance.theirs)
        if not all(present):
            lacking = [key for key, there in zip(instance.theirs, present, strict=True) if not there]
            self.faults.missing(instance, lacking)
            return
        self._fit(instance, check=all(tied))

    def _nameless(self, instance: Instance, names: Sequence[str]) -> None:
        """The rule names tensors that the model does not have; what it reads counts as explained."""
        self.used.update(instance.theirs)
        self.faults.nameless(instance.equation, names)

    def _fit(self, instance: Instance, check: bool) -> None:
        """The moves of an instance whose tensors are all there."""
        ours = [self.table.ties.get(key, key) for key in instance.ours]
        theirs = [self.matched.actual.get(key, key) for key in instance.theirs]
        if any(key not in self.ours for key in ours):
            self._nameless(instance, ours)
            return
        our_shapes = tuple(self.ours[key].shape for key in ours)
        their_shapes = tuple(self.header.tensors[key].shape for key in theirs) if self.header else None
        fit = self._solved(instance, our_shapes, their_shapes)
        if isinstance(fit, str):
            self.faults.axes(instance.equation, fit, instance.ours, our_shapes)
            return
        for key, shape in zip(theirs, fit.theirs, strict=True):
            if self.header and self.header.tensors[key].shape != shape:
                self.faults.shape(instance, key, self.header.tensors[key].shape, shape)
                return
        moves = tuple(
            Move(ours[min(n, len(ours) - 1)], theirs[min(n, len(theirs) - 1)], one)
            for n, one in enumerate(fit.pieces)
        )
        self._types(instance, moves, fit)
        self.groups.append(Group(moves, check))

    def _solved(
        self, instance: Instance, ours: tuple[Shape, ...], theirs: tuple[Shape, ...] | None
    ) -> Fit | str:
        """A fit, or why there is none; equal layers are solved once."""
        layout = instance.equation.rule.layout
        if layout is None:
            return Fit((identity(ours[0]),), ours)
        key = (id(instance.equation), ours, theirs)
        if key not in self.fits:
            try:
                self.fits[key] = self._solve(layout, instance, ours, theirs)
            except AxesError as error:
                self.fits[key] = str(error)
        return self.fits[key]

    def _solve(
        self, layout: Layout, instance: Instance, ours: tuple[Shape, ...], theirs: tuple[Shape, ...] | None
    ) -> Fit:
        expansion = self.matched.expansion
        rule = instance.equation.rule
        our_members, their_members = _distinct(ours, members(rule.ours)), members(rule.theirs)
        try:
            sizes = solve(layout, our_members, None, expansion.extents, expansion.let)
        except AxesError:
            if theirs is None:
                raise
            sizes = solve(
                layout, our_members, _distinct(theirs, their_members), expansion.extents, expansion.let
            )
        wanted = shapes(layout.theirs, layout.ours_sum, their_members, sizes, expansion.extents)
        repeats = len(instance.theirs) // their_members
        pieces = tuple(piece(layout, slot, sizes, expansion.extents) for slot in instance.slots)
        return Fit(pieces, tuple(wanted * repeats))

    def _types(self, instance: Instance, moves: Sequence[Move], fit: Fit) -> None:
        """Element types of both sides; only floats become other floats, and only where asked."""
        if self.header is None:
            for move, shape in _with_shapes(moves, fit):
                self.theirs[move.theirs] = TensorSpec(shape, self.ours[move.ours].dtype)
            return
        made: dict[str, str] = {}
        for move in moves:
            info = self.header.tensors[move.theirs]
            self.theirs[move.theirs] = TensorSpec(info.shape, info.dtype)
            wanted = self.ours[move.ours].dtype
            if wanted == MODULE_FLOAT:
                wanted = (self.dtype or info.dtype) if info.dtype in FLOATS else self.dtype or MODULE_FLOAT
            first = made.setdefault(move.ours, wanted)
            if first != wanted:
                self.faults.dtype(instance, move.theirs, info.dtype, f"{first}, as the tensors beside it")
                continue
            if info.dtype == wanted:
                continue
            if info.dtype in FLOATS and wanted in FLOATS:
                self.casts.append(Cast(move.ours, info.dtype, wanted))
            else:
                self.faults.dtype(instance, move.theirs, info.dtype, wanted)

    def _ties(self) -> None:
        """Second copies that the file holds: checked on load, written again on export."""
        by_name = {move.theirs: group for group in self.groups for move in group.moves if not group.check}
        for copy, (means, synonym) in self.matched.expansion.ties.items():
            if copy not in self.matched.actual:
                continue
            self.used.add(copy)
            group = by_name.get(self.matched.actual.get(means, means))
            key = self.matched.actual[copy]
            if group is None or self.header is None:
                continue
            info, first = self.header.tensors[key], self.theirs[self.matched.actual[means]]
            if info.shape != first.shape or info.dtype != first.dtype:
                self.faults.tie(synonym, key, self.matched.actual[means])
                continue
            self.theirs[key] = first
            moves = tuple(
                replace(m, theirs=key) for m in group.moves if m.theirs == self.matched.actual[means]
            )
            self.groups.append(Group(moves, check=True))

    def _drops(self) -> tuple[Dropped, ...]:
        found: list[Dropped] = []
        met: set[Drop] = set()
        for name, drop in self.matched.expansion.drops.items():
            if name in self.matched.actual:
                self.used.add(name)
                met.add(drop)
                found.append(Dropped(self.matched.actual[name], drop.reason))
        if self.header is not None:
            for drop in dict.fromkeys(self.matched.expansion.drops.values()):
                if not drop.optional and drop not in met:
                    self.faults.idle(drop, [n for n, d in self.matched.expansion.drops.items() if d is drop])
        return tuple(found)

    def _coverage(self) -> None:
        """Nothing on either side is left over."""
        self.faults.unclaimed(
            [p for p in self.table.parameters if p.name not in self.claimed and not p.adapter]
        )
        left = [key for name, key in self.matched.actual.items() if name not in self.used]
        self.faults.unexpected(left)


def _statement(owner: Instance | Drop) -> Equation | Drop:
    return owner.equation if isinstance(owner, Instance) else owner


def _repeated(keys: Sequence[str]) -> list[str]:
    return [] if len(set(keys)) == len(keys) else [key for key, count in Counter(keys).items() if count > 1]


def _distinct(all_shapes: tuple[Shape, ...], count: int) -> list[Shape]:
    """One shape per member, given those of all places of the stack.

    Raises AxesError where a stack is uneven.
    """
    for number, shape in enumerate(all_shapes):
        if shape != all_shapes[number % count]:
            raise AxesError(f"stacked tensors differ: {list(all_shapes[number % count])} and {list(shape)}")
    return list(all_shapes[:count])


def _with_shapes(moves: Sequence[Move], fit: Fit) -> list[tuple[Move, Shape]]:
    return [(move, fit.theirs[min(n, len(fit.theirs) - 1)]) for n, move in enumerate(moves)]
