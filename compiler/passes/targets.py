"""What a node form comes to: an op or a block, through however many block values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.opdef import OpDef
from compiler.ir.values import spell
from compiler.passes.inherit import flatten
from compiler.passes.library import Library
from compiler.passes.origins import follow
from compiler.passes.scope import Closure, Given, Scope
from compiler.passes.wiring import Site
from compiler.source.text import Span
from compiler.syntax.model_spec import BlockSpec, NodeSpec
from compiler.syntax.yaml import Located


@dataclass(frozen=True)
class Target:
    """The end of a chain of uses.

    sites: the node itself, then each block value it goes through, for wiring.
    given: params that the chain sets.
    """

    sites: tuple[Site, ...]
    given: Mapping[str, Given]
    op: OpDef | None = None
    block: BlockSpec | None = None
    outer: Scope | None = None  # for inline blocks: the spec's scope

    @property
    def node(self) -> NodeSpec:
        """The innermost form: where an op's attributes stand."""
        return self.sites[-1].node

    @property
    def scope(self) -> Scope:
        """Where the attributes were written."""
        return self.sites[-1].scope

    @property
    def name(self) -> str:
        """The op's or the block's name."""
        if self.op is not None:
            return self.op.name
        assert self.block is not None and self.block.block is not None
        return str(self.block.block.value)

    @property
    def title(self) -> str:
        """What diagnostics call it."""
        return f"op `{self.name}`" if self.op is not None else f"block `{self.name}`"


@dataclass(frozen=True)
class Targets:
    """Follows uses; flattened blocks are kept."""

    library: Library
    ops: Mapping[str, OpDef]
    diagnostics: Diagnostics
    flat: dict[int, BlockSpec]

    def find(self, node: NodeSpec, scope: Scope) -> Target:
        """The op or block that a node comes to. Raises Abort after reporting."""
        sites = [Site(node, scope)]
        given: dict[str, Given] = {}
        for _ in range(32):
            self._collect(node, scope, given)
            if node.op is not None:
                return Target(tuple(sites), given, op=self._op(node.op))
            assert node.use is not None
            use, scope = follow(node.use, scope)
            value = scope.value(use)
            if isinstance(value, Closure):
                node, scope = value.node, value.scope
                sites.append(Site(node, scope))
                continue
            if not isinstance(value, str):
                raise self.diagnostics.error(
                    "wrong-type", f"`use` takes a block, not `{spell(value)}`", use.span
                )
            block, outer = self._block(value, use.span, scope)
            return Target(tuple(sites), given, block=block, outer=outer)
        raise self.diagnostics.error("cycle", "block values use each other without end", node.span)

    def _collect(self, node: NodeSpec, scope: Scope, given: dict[str, Given]) -> None:
        for key, value in node.params.items():
            if key in given:
                raise self.diagnostics.error(
                    "conflict",
                    f"the param `{key}` is set twice on the way to its block",
                    key.span,
                    notes=(Note("the other", given[key].span),),
                )
            given[str(key)] = Given(value, scope, key)

    def _op(self, name: Located) -> OpDef:
        word = str(name.value)
        op = self.ops.get(word)
        if op is None:
            is_block = self.library.has_block(word, name.span.file)
            cure = f"`{word}` is a block: write `use: {word}`" if is_block else did_you_mean(word, self.ops)
            raise self.diagnostics.error("unknown-op", f"there is no op `{word}`", name.span, help=cure)
        return op

    def _block(self, name: str, span: Span, scope: Scope) -> tuple[BlockSpec, Scope | None]:
        if name in scope.inline:
            return self.flat_block(scope.inline[name], name), scope.inline_home
        return self.flat_block(self.library.block(name, span, self.diagnostics), name), None

    def flat_block(self, block: BlockSpec, name: str) -> BlockSpec:
        """A block with what it inherits, and its name."""
        if id(block) not in self.flat:
            flat = flatten(block, self._parent, self.diagnostics)
            if flat.block is None:
                flat = flat.model_copy(update={"block": Located(name, block.span, name)})
            self.flat[id(block)] = flat
        return self.flat[id(block)]

    def _parent(self, block: BlockSpec) -> BlockSpec | None:
        if block.extends is None:
            return None
        name, span = str(block.extends.value), block.extends.span
        parent = self.library.block(name, span, self.diagnostics)
        if parent is block:
            raise self.diagnostics.error("cycle", f"`{name}` extends itself", span)
        return parent
