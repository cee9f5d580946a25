"""Modules that must be split together or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.parallel.styles import COLWISE, TABLE_COLUMNS
from compiler.source.text import Span


@dataclass(frozen=True)
class Count:
    """What is dealt out evenly: so many of something, and the place that says how many."""

    size: int
    name: str
    span: Span


@dataclass
class Group:
    """Modules that make, or end, values split along one axis. broken: why the axis cannot be split."""

    styles: dict[str, str] = field(default_factory=dict[str, str])
    counts: list[Count] = field(default_factory=list[Count])
    broken: str = ""
    ends: bool = False  # a row-wise map contracts the axis

    def add(self, module: str, style: str) -> None:
        """Take a module in; called twice, it must be used alike."""
        if self.styles.setdefault(module, style) != style:
            self.stop("one module is used in two ways")

    def openers(self) -> list[str]:
        """The modules whose results are split."""
        return [m for m, style in self.styles.items() if style in (COLWISE, TABLE_COLUMNS)]

    def stop(self, reason: str) -> None:
        """The axis cannot be split; the first reason is kept."""
        self.broken = self.broken or reason


class Groups:
    """The groups of a graph, by the module that opened each; groups whose values meet become one."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._groups: dict[str, Group] = {}

    def open(self, module: str, style: str, count: Count) -> str:
        """The group of a module whose output is split; it may have been opened by an earlier call of it."""
        if module not in self._parents:
            self._parents[module] = module
            self._groups[module] = Group()
        found = self.of(module)
        found.add(module, style)
        found.counts.append(count)
        return module

    def of(self, name: str) -> Group:
        """The group that a name now belongs to."""
        return self._groups[self._root(name)]

    def join(self, names: list[str]) -> None:
        """Groups whose values meet are one."""
        first, *others = dict.fromkeys(map(self._root, names))
        for name in others:
            gone = self._groups.pop(name)
            into = self._groups[first]
            for module, style in gone.styles.items():
                into.add(module, style)
            into.counts += gone.counts
            into.stop(gone.broken)
            into.ends = into.ends or gone.ends
            self._parents[name] = first

    def all(self) -> list[Group]:
        """Every group."""
        return list(self._groups.values())

    def _root(self, name: str) -> str:
        while self._parents[name] != name:
            name = self._parents[name]
        return name
