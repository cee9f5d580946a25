"""Where the weights go when several ranks share each layer: derived from the graph, never by names.

A group of linear maps is split where every path from the maps that open it leads to maps that contract the
very axis that was split: queries, keys and values with the output of attention, gate and up with down. Tables
that are looked up by the ids that the model is given are split by vocabulary, and so are the scores over the
same vocabulary. All else is whole on every rank.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import RepeatNode
from compiler.ir.typed import TypedBlock, TypedGraph
from compiler.parallel.flow import Flow
from compiler.parallel.groups import Count, Group
from compiler.parallel.patterns import Layers, folded, modules, repeats
from compiler.parallel.styles import GATHERED, REPLICATE, STYLES, TABLE
from compiler.source.text import Span

_STARS = re.compile(r"#\d+")  # a kind of layer


@dataclass(frozen=True)
class Placement:
    """styles: module pattern (`h.*.attn.q`) -> how its weights are split; what is not in it is whole.

    units: patterns of the repeated blocks, which FSDP gathers one at a time.
    whole: patterns of linear maps and tables that stay whole -> why.
    groups: patterns of modules that are split together.
    counts: what a number of ranks must divide, with the place that says how many there are.
    """

    styles: Mapping[str, str]
    units: tuple[str, ...]
    whole: Mapping[str, str]
    groups: tuple[tuple[str, ...], ...]
    counts: tuple[Count, ...]

    def style(self, module: str) -> str:
        """The style of one module, `replicate` where the plan does not name it."""
        return next((s for pattern, s in self.styles.items() if matches(pattern, module)), REPLICATE)


def matches(pattern: str, module: str) -> bool:
    """Whether a module is one of a pattern, in which `*` is the number of a layer."""
    parts, own = pattern.split("."), module.split(".")
    return len(parts) == len(own) and all(p in ("*", o) for p, o in zip(parts, own, strict=True))


def place(graph: TypedGraph, *, tp: int = 1, plan: Mapping[str, str] | None = None) -> Placement:
    """The placement of a graph for `tp` ranks that share each layer.

    plan: glob of modules -> a style in place of the derived one; `replicate` always may stand, and takes with
    it whatever is split together with the module. A key that has a `span` is shown in faults.
    Raises CompileError where a count is not divisible, and for overrides that match nothing or prove wrong.
    """
    diagnostics = Diagnostics()
    layers = repeats(graph.root)
    asked = _asked(graph.root, layers, plan or {}, diagnostics)
    diagnostics.check()
    deriving = _derive(graph, {name for name, style in asked.items() if style == REPLICATE})
    for name, style in asked.items():
        if style == GATHERED and name in deriving.flow.heads and not deriving.flow.heads[name].table:
            deriving = _derive(graph, {*deriving.kept_whole, name})
            deriving.styles[name] = GATHERED
    _hold(asked, deriving.styles, plan or {}, diagnostics)
    _divide(deriving.counts, tp, diagnostics)
    diagnostics.check()
    groups = tuple(tuple(folded(group, layers)) for group in deriving.groups)
    styles = folded(deriving.styles, layers)
    reasons = {name: why for name, why in deriving.reasons.items() if name not in deriving.styles}
    return Placement(
        styles, tuple(_units(graph.root)), folded(reasons, layers), groups, tuple(deriving.counts)
    )


@dataclass
class _Derived:
    flow: Flow
    kept_whole: frozenset[str]
    styles: dict[str, str] = field(default_factory=dict[str, str])
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    groups: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    counts: dict[Count, str] = field(default_factory=dict[Count, str])  # and a module that it is of


def _derive(graph: TypedGraph, asked: set[str]) -> _Derived:
    """Walk until every group that is left can be split; each walk leaves out the modules that broke one."""
    whole: set[str] = set(asked)
    reasons = dict.fromkeys(asked, "the plan says so")
    while True:
        flow = Flow(whole)
        flow.graph(graph)
        groups = flow.groups.all()
        _stop_double(flow, groups)
        broken = [g for g in groups if g.broken or not g.ends]
        if not broken:
            break
        for group in broken:
            for module in group.openers():
                reasons.setdefault(module, group.broken or "no map contracts what it makes")
            whole |= set(group.openers())
    found = _Derived(flow, frozenset(whole), reasons=reasons)
    for group in groups:
        found.groups.append(group.styles)
        found.styles |= group.styles
        found.counts |= {count: group.openers()[0] for count in group.counts}
    found.styles |= _vocabularies(flow, found.styles, asked)
    return found


def _stop_double(flow: Flow, groups: list[Group]) -> None:
    """A module that two calls use in different ways is split in neither."""
    for group in groups:
        for module in group.styles:
            if module in flow.plain or any(module in other.styles for other in groups if other is not group):
                group.stop(f"`{module}` is called with whole values and with parts")


def _vocabularies(flow: Flow, split: Mapping[str, str], asked: set[str]) -> dict[str, str]:
    """Tables of the ids that the model is given, and the maps that score the same rows.

    Those that share a weight go together.

    A table with fewer rows than columns is less than one of the layers' own matrices: it stays whole.
    """
    apart = asked | {head.table for name, head in flow.heads.items() if name in asked}
    known = {name: t for name, t in flow.tables.items() if t.given and t.rows > t.columns}
    tables = {name: table for name, table in known.items() if name not in apart}
    sizes = {table.rows for table in known.values()}
    heads = {
        name: GATHERED
        for name, head in flow.heads.items()
        if name not in split
        and name not in asked
        and (head.table in tables if head.table else head.out in sizes)
    }
    return {**dict.fromkeys(tables, TABLE), **heads}


def _asked(
    root: TypedBlock, layers: Layers, plan: Mapping[str, str], diagnostics: Diagnostics
) -> dict[str, str]:
    """The overrides by module, layers as `#0`."""
    known = {name: list(concrete) for name, concrete in modules(root, layers)}
    out: dict[str, str] = {}
    for glob, style in plan.items():
        span = _span(glob)
        if style not in STYLES:
            cure = did_you_mean(style, STYLES) or f"known: {', '.join(f'`{s}`' for s in STYLES)}"
            diagnostics.error("bad-value", f"there is no style `{style}`", span, help=cure)
        matched = {name: [fnmatchcase(c, glob) for c in concrete] for name, concrete in known.items()}
        if not any(any(hits) for hits in matched.values()):
            names = [c for concrete in known.values() for c in concrete]
            cure = did_you_mean(glob, names)
            diagnostics.error("bad-path", f"`{glob}` matches no module with weights", span, help=cure)
        for name, hits in matched.items():
            if any(hits) and not all(hits):
                cure = "write `*` for the number of the layer"
                message = f"`{glob}` matches some of the layers that are alike, and these are placed alike"
                diagnostics.error("bad-path", message, span, help=cure)
            elif all(hits):
                out[name] = style
    return out


def _hold(
    asked: Mapping[str, str], styles: Mapping[str, str], plan: Mapping[str, str], diagnostics: Diagnostics
) -> None:
    """An override other than `replicate` must be what the graph proves."""
    for name, style in asked.items():
        derived = styles.get(name, REPLICATE)
        if style not in (derived, REPLICATE):
            glob = next(glob for glob, value in plan.items() if value == style)
            message = f"`{_STARS.sub('*', name)}` cannot be `{style}`: the graph proves `{derived}`"
            diagnostics.error("bad-value", message, _span(glob), help="`replicate` always may stand")


def _divide(counts: Mapping[Count, str], tp: int, diagnostics: Diagnostics) -> None:
    common = math.gcd(*(count.size for count in counts))
    fits = ", ".join(str(n) for n in range(1, common + 1) if common % n == 0)
    for count, module in counts.items():
        if count.size % tp:
            whole = f"{_STARS.sub('*', module)}: {REPLICATE}"
            diagnostics.error(
                "bad-value",
                f"{count.size} `{count.name}` cannot be dealt out evenly to tp = {tp} ranks",
                count.span,
                help=f"a tp that divides all: {fits}; `{whole}` in `parallel.plan` keeps these whole",
            )


def _units(root: TypedBlock, prefix: str = "") -> Iterator[str]:
    """The repeats that hold no others."""
    for typed in root.nodes:
        is_repeat = isinstance(typed.node.action, RepeatNode)
        inside = f"{prefix}{typed.node.name}.*." if is_repeat else f"{prefix}{typed.node.name}."
        below = list(dict.fromkeys(unit for child in typed.children for unit in _units(child, inside)))
        if is_repeat and not below:
            below = [inside.removesuffix(".")]
        yield from below


def _span(text: str) -> Span | None:
    """The place of a key that was read from a file."""
    found: Span | None = getattr(text, "span", None)
    return found
