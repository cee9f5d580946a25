"""The surface of the language: specs, blocks, nodes. Only what stands in the file;
nothing is resolved here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from compiler.syntax.schema import MapOf, Name, SeqOf, Syntax, Text, Texts, Value, Values
from compiler.syntax.yaml import Located


class WhereSpec(Syntax):
    """A per-layer rule of a repeat: at the layers `at`, the paths of `set`."""

    at: Value
    set: Values


class NodeSpec(Syntax):
    """A node: an op with attributes, a use of a block, a repeat of one, or a second call of another node."""

    open: ClassVar[bool] = True

    op: Text | None = None
    use: Value | None = None
    same_as: Text | None = None
    repeat: Value | None = None
    inputs: Annotated[Value | None, Field(alias="in")] = None
    params: Annotated[Values, Field(alias="with", default_factory=dict)]
    when: Value | None = None
    other: Annotated[Text | None, Field(alias="else")] = None
    share: Value | None = None
    #: recurring kinds of layer by name, each the paths it sets
    kinds: Annotated[dict[Name, Values], MapOf, Field(default_factory=dict)]
    order: Value | None = None
    tail: Text | None = None
    where: Annotated[list[WhereSpec], SeqOf, Field(default_factory=list)]
    reuse: Value | None = None
    attrs: Annotated[Values, Field(default_factory=dict)]
    #: the node before this one in the document, wired where `in` is left out; fixed before edits apply
    previous: Annotated[Located | None, Field(alias="$previous")] = None


NODE_FORMS = ("op", "use", "same_as")

Nodes = Annotated[dict[Name, NodeSpec], MapOf]


class InsertSpec(Syntax):
    """Nodes put in after (or before) an inherited node."""

    after: Text | None = None
    before: Text | None = None
    nodes: Nodes


class Body(Syntax):
    """What specs and blocks have in common."""

    extends: Text | None = None
    summary: Text | None = None
    source: Text | None = None
    params: Annotated[Values, Field(default_factory=dict)]
    let: Annotated[Values, Field(default_factory=dict)]
    inputs: Annotated[Values, Field(default_factory=dict)]
    nodes: Annotated[Nodes, Field(default_factory=dict)]
    outputs: Annotated[Texts, Field(default_factory=dict)]
    set: Annotated[Values, Field(default_factory=dict)]
    add: Annotated[Nodes, Field(default_factory=dict)]
    remove: Annotated[list[Text], SeqOf, Field(default_factory=list)]
    replace: Annotated[Nodes, Field(default_factory=dict)]
    insert: InsertSpec | None = None


class BlockSpec(Body):
    """A reusable sub-graph: `block: NAME`."""

    block: Text | None = None


class DimSpec(Syntax):
    """A bound on a symbolic length."""

    max: Value


class MethodSpec(Syntax):
    """A second entry point: its outputs, and the values that become inputs (`cut`)."""

    summary: Text | None = None
    outputs: Texts
    cut: Annotated[Texts, Field(default_factory=dict)]


class InitSpec(Syntax):
    """Initial values: by op and weight (`linear.weight`), then by path (`h.*.mlp.down.weight`)."""

    ops: Annotated[Values, Field(default_factory=dict)]
    paths: Annotated[Values, Field(default_factory=dict)]


class AdapterSpec(Syntax):
    """Low-rank additions to linear maps: where (`at`, paths with `*`), how large, what else is trained."""

    at: Annotated[list[Text], SeqOf]
    rank: Value
    alpha: Value
    dropout: Value | None = None
    train: Annotated[list[Text], SeqOf, Field(default_factory=list)]


class ModelSpec(Body):
    """A whole architecture: `spec: NAME`."""

    spec: Text
    task: Text | None = None
    variants: Annotated[dict[Name, Values], MapOf, Field(default_factory=dict)]
    dims: Annotated[dict[Name, DimSpec], MapOf, Field(default_factory=dict)]
    blocks: Annotated[dict[Name, BlockSpec], MapOf, Field(default_factory=dict)]
    methods: Annotated[dict[Name, MethodSpec], MapOf, Field(default_factory=dict)]
    init: InitSpec | None = None
    adapters: AdapterSpec | None = None
    io: Annotated[Values, Field(default_factory=dict)]
