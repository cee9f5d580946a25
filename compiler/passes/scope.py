"""What names mean in a block instance: params and dims in expressions, nodes and inputs in references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler.diagnostics.diagnostic import Abort, Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import Ref
from compiler.ir.values import DimName, Record, Residual, Value, ValueFault, evaluate
from compiler.passes.origins import origins
from compiler.source.text import Span
from compiler.syntax.expr import ExprError, Name, parse_expr
from compiler.syntax.model_spec import BlockSpec, NodeSpec
from compiler.syntax.parse import is_block_value, parse_node
from compiler.syntax.yaml import Key, Located, Map, Seq


@dataclass(frozen=True)
class Binding:
    """A value in scope. maybe: it may be None when the module runs."""

    ref: Ref
    maybe: bool = False


@dataclass(frozen=True, eq=False)
class Closure:
    """A block value: a node form and the scope in which it was written."""

    node: NodeSpec
    scope: Scope = field(repr=False)
    span: Span

    def __str__(self) -> str:
        form = "op" if self.node.op is not None else "use"
        named = self.node.op or self.node.use
        return f"{{{form}: {named.text if isinstance(named, Located) else '...'}}}"


@dataclass(frozen=True)
class Given:
    """A value as written, and the scope of its expressions."""

    value: Any  # Located | Map | Seq
    scope: Scope
    key: Key | None = None  # where the name stands, if it stands there

    @property
    def name_span(self) -> Span:
        """Where the name stands, for faults of the name."""
        return self.key.span if self.key is not None else self.span

    @property
    def span(self) -> Span:
        """Where the value stands."""
        span: Span = self.value.span
        return span


@dataclass(eq=False)
class Scope:
    """One block instance while it is elaborated.

    parent: the scope that instantiates this one, through which captures travel.
    outer: the scope whose params an inline block sees.
    names: node or input -> output port -> Binding, None where it is absent; the port "" is the first output.
    """

    path: str
    title: str  # "block `attention`", for messages
    diagnostics: Diagnostics
    parent: Scope | None = None
    outer: Scope | None = None
    given: dict[str, Given] = field(default_factory=dict[str, Given])
    dims: frozenset[str] = frozenset()
    fixed: Mapping[str, Value] = field(default_factory=dict[str, Value])
    names: dict[str, dict[str, Binding | None]] = field(default_factory=dict[str, dict[str, Binding | None]])
    later: dict[str, Span] = field(default_factory=dict[str, Span])
    repeats: dict[str, int] = field(default_factory=dict[str, int])  # repeated node -> number of layers
    taps: dict[str, set[int]] = field(default_factory=dict[str, set[int]])  # layers whose output is read
    captures: dict[str, Binding] = field(default_factory=dict[str, Binding])
    reserved: set[str] = field(default_factory=set[str])
    broken: set[str] = field(default_factory=set[str])  # nodes and inputs whose fault is already reported
    unset: set[str] = field(default_factory=set[str])  # params whose fault is already reported
    removed: Mapping[str, Span] = field(default_factory=dict[str, Span])
    vague: bool = False  # an input's type is faulty, so that its dims are not known
    inline: Mapping[str, BlockSpec] = field(default_factory=dict[str, BlockSpec])
    inline_home: Scope | None = None
    base: Scope | None = None  # set on the overlay that adds a layer's `i` and `n`
    _captured: dict[tuple[int, Ref], Binding] = field(default_factory=dict[tuple[int, Ref], Binding])
    _values: dict[str, Value] = field(default_factory=dict[str, Value])
    _open: list[str] = field(default_factory=list[str])

    @property
    def owner(self) -> Scope:
        """The scope itself, or the one that it overlays."""
        return self.base or self

    def layer(self, i: int, n: int) -> Scope:
        """This scope with the index and count of a repeat's layer in its expressions."""
        return Scope(
            self.path,
            self.title,
            self.diagnostics,
            parent=self.parent,
            outer=self,
            fixed={"i": i, "n": n},
            names=self.names,
            repeats=self.repeats,
            taps=self.taps,
            later=self.later,
            broken=self.broken,
            removed=self.removed,
            inline=self.inline,
            inline_home=self.inline_home,
            base=self,
        )

    # -- expressions ---------------------------------------------------------------------------------------

    def value(self, written: Any) -> Value:
        """The value of YAML as written here. Raises Abort after reporting a fault."""
        if isinstance(written, Seq):
            return tuple(self.value(item) for item in written)
        if isinstance(written, Map):
            if is_block_value(written):
                return Closure(parse_node(written, self.diagnostics), self, written.span)
            return Record(tuple((str(k), self.value(v)) for k, v in written.items()))
        assert isinstance(written, Located)
        if isinstance(written.value, str) and written.value.startswith("="):
            return self.expression(written)
        return written.value

    def expression(self, written: Located, inputs: frozenset[str] = frozenset()) -> Value:
        """The value of `=...`; names in `inputs` stay names."""
        text = str(written.value)[1:]

        def lookup(name: Name) -> Value:
            if name.name in inputs:
                return Residual(name)
            try:
                return self.lookup(name.name)
            except KeyError:
                span = written.part(name.start + 1, name.end + 1)
                raise self._unknown(name.name, span, inputs) from None

        try:
            return evaluate(parse_expr(text), lookup)
        except ExprError as error:
            span = written.part(error.start + 1, error.end + 1)
            raise self.diagnostics.error("expr-syntax", error.message, span, help=error.help) from None
        except ValueFault as fault:
            cure = _exactness(str(fault))
            notes = origins(written, self)
            raise self.diagnostics.error(
                "expr-value", str(fault), written.span, notes=notes, help=cure
            ) from None

    def _unknown(self, name: str, span: Span, inputs: frozenset[str]) -> Abort:
        if self.vague:
            return Abort(name)
        known = self.visible() | inputs
        if name in ("i", "n"):
            message = f"`{name}` has a meaning only in the `with`, `where` and `reuse` of a repeat"
            return self.diagnostics.error("expr-name", message, span)
        return self.diagnostics.error(
            "expr-name",
            f"there is no param or dim `{name}` in {self.title}",
            span,
            help=did_you_mean(name, known),
        )

    def visible(self) -> frozenset[str]:
        """Every name that an expression may mention."""
        own = frozenset(self.given) | self.dims | frozenset(self.fixed)
        return own | (self.outer.visible() if self.outer is not None else frozenset())

    def holder(self, name: str) -> Scope | None:
        """The scope whose param or `let` of that name an expression here mentions, if it mentions one."""
        if name in self.fixed or (name in self.dims and name not in self.given):
            return None
        return self if name in self.given else self.outer.holder(name) if self.outer is not None else None

    def lookup(self, name: str) -> Value:
        """The value of a param, `let` or dim. Raises KeyError if there is none."""
        if name in self.fixed:
            return self.fixed[name]
        if name in self.unset:
            raise Abort(name)
        if name in self._values:
            return self._values[name]
        if name in self.given:
            return self._evaluate(name)
        if name in self.dims:
            return Residual(DimName(self.path, name))
        if self.outer is not None:
            return self.outer.lookup(name)
        raise KeyError(name)

    def _evaluate(self, name: str) -> Value:
        given = self.given[name]
        if name in self._open:
            chain = [*self._open[self._open.index(name) :], name]
            self.unset |= set(chain)
            raise self.diagnostics.error(
                "expr-cycle",
                f"`{name}` is defined in terms of itself: " + " -> ".join(chain),
                given.span,
                notes=tuple(Note(f"`{n}` stands here", self.given[n].span) for n in chain[1:-1]),
            )
        self._open.append(name)
        try:
            self._values[name] = given.scope.value(given.value)
        finally:
            self._open.pop()
        return self._values[name]

    # -- references ----------------------------------------------------------------------------------------

    def find(self, written: Located) -> Binding | None:
        """What a reference means; None when it is absent. Raises Abort after reporting."""
        text = str(written.value)
        node, _, port = text.partition(".")
        if node in self.broken:
            raise Abort(node)
        if node not in self.names:
            raise self._unbound(node, written)
        outputs = self.names[node]
        if port.isdigit() and int(port) < self.repeats.get(node, 0):
            self.taps.setdefault(node, set()).add(int(port))
            return Binding(Ref(node, port))
        if port not in outputs:
            known = [p for p in outputs if p]
            raise self.diagnostics.error(
                "unknown-port",
                f"`{node}` has no output `{port}`",
                written.part(len(node) + 1, len(text)),
                help=did_you_mean(port, known),
            )
        return outputs[port]

    def _unbound(self, node: str, written: Located) -> Abort:
        span = written.part(0, len(node))
        if node == next(iter(self.later), None):
            return self.diagnostics.error("cycle", f"`{node}` reads itself", span)
        if node in self.later:
            return self.diagnostics.error(
                "forward-ref",
                f"`{node}` stands later in the document",
                span,
                notes=(Note("it stands here", self.later[node]),),
                help=f"move `{node}` up: document order is execution order",
            )
        hint = did_you_mean(node, [*self.names, *self.broken])
        notes = (Note(f"`{node}` is removed here", self.removed[node]),) if node in self.removed else ()
        if node in self.visible():
            hint = f"`{node}` is a param; a param's value is written `={node}`"
        return self.diagnostics.error(
            "unknown-ref",
            f"there is no node or input `{node}` in {self.title}",
            span,
            notes=notes,
            help="" if notes else hint,
        )

    def capture(self, home: Scope, binding: Binding) -> Binding:
        """A value of an outer scope as an input of this one, handed down through every scope between."""
        if home.owner is self.owner:
            return binding
        if self.base is not None:
            return self.base.capture(home, binding)
        assert self.parent is not None, "a closure is used outside the scopes below its own"
        key = (id(home.owner), binding.ref)
        if key not in self._captured:
            above = self.parent.capture(home, binding)
            name = self._fresh(binding.ref)
            self.captures[name] = above
            self._captured[key] = Binding(Ref(name), binding.maybe)
        return self._captured[key]

    def _fresh(self, ref: Ref) -> str:
        base = ref.node if ref.port in ("", "y", ref.node) else f"{ref.node}_{ref.port}"
        name, count = base, 2
        while name in self.reserved or name in self.captures:
            name, count = f"{base}_{count}", count + 1
        return name


def _exactness(message: str) -> str:
    return "choose sizes that divide, or write `//` for a floor" if "divisible" in message else ""
