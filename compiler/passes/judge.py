"""What shape inference asks beside shapes: bounds of lengths, kinds of attributes, names of modules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from compiler.diagnostics.diagnostic import Diagnostics, Note
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.dims import Dim
from compiler.ir.graph import Attr, Block, Node, OpNode, RepeatNode, SameNode, UseNode
from compiler.ir.opdef import AttrDecl, Typing, Weight
from compiler.ir.typed import TypedBlock, TypedNode
from compiler.ir.types import TensorType
from compiler.ir.values import Residual, Value, spell
from compiler.passes.initial import init_fault
from compiler.syntax.names import ADDED_METHODS, MODULE_ATTRIBUTES, is_identifier

MAX_ELEMENTS = 2**40

#: kind of an attribute -> its name in messages, and the types of its values
_KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "int": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "bool": ("true or false", (bool,)),
    "str": ("a word", (str,)),
    "pattern": ("a pattern of axes", (str,)),
    "size": ("a size", (int, Dim)),
    "sizes": ("a size or a list of sizes", (int, Dim, tuple)),
}


def check_bounds(
    bounds: Mapping[str, Attr], root: TypedBlock | None, remembered: Iterable[str], diagnostics: Diagnostics
) -> None:
    """`dims` bounds lengths that some input has, or that a cache counts (`remembered`), by whole numbers."""
    lengths = {str(d) for t in (root.inputs.values() if root else ()) for d in t.shape if d.constant is None}
    lengths |= set(remembered)
    for name, bound in bounds.items():
        if root is not None and name not in lengths:
            cure = did_you_mean(name, lengths)
            diagnostics.error("bad-dim", f"no input has a free axis `{name}`", bound.span, help=cure)
        if not isinstance(bound.value, int) or isinstance(bound.value, bool) or bound.value < 1:
            message = f"the bound of `{name}` is a positive whole number, not `{spell(bound.value)}`"
            diagnostics.error("bad-dim", message, bound.span)


def has_cache(block: Block) -> bool:
    """Whether an op of the block, or of one below it, remembers earlier tokens."""
    for node in block.nodes:
        match node.action:
            case OpNode(op="cache"):
                return True
            case UseNode(block=inner) if has_cache(inner):
                return True
            case RepeatNode(bodies=bodies) if any(has_cache(b) for b in bodies):
                return True
            case _:
                continue
    return False


@dataclass(frozen=True)
class KindFault:
    """Why a value cannot be an attribute's."""

    code: str
    message: str
    help: str = ""


def kind_fault(decl: AttrDecl, value: Value) -> KindFault | None:
    """What is wrong with an attribute's value, judged by its kind alone."""
    if decl.kind == "init":
        wrong = init_fault(value)
        return KindFault("bad-value", wrong.message, wrong.help) if wrong is not None else None
    if decl.kind not in _KINDS or (value is None and not decl.required):
        return None
    if isinstance(value, Residual):
        return KindFault(
            "expr-value", f"`{decl.name}` depends on `{spell(value)}`, which nothing has bound yet"
        )
    if isinstance(value, float) and math.isnan(value):
        return KindFault("bad-value", f"`{decl.name}` cannot be `.nan`")
    what, types = _KINDS[decl.kind]
    if isinstance(value, types) and (not isinstance(value, bool) or decl.kind == "bool"):
        return None
    if decl.kind in ("size", "sizes", "int") and isinstance(value, Fraction | float):
        return KindFault("bad-dim", f"`{decl.name}` is {spell(value)}, which is no whole number")
    is_word = isinstance(value, str) and decl.kind not in ("str", "pattern") and is_identifier(value)
    cure = f"write `={value}` for the value of a param" if is_word else ""
    return KindFault("wrong-type", f"`{decl.name}` is {what}, not `{spell(value)}`", cure)


def check_weights(node: Node, weights: tuple[Weight, ...], diagnostics: Diagnostics) -> None:
    """A weight has the same shape whatever the input. Raises Abort after reporting another."""
    for weight in weights:
        free = [size for size in weight.shape if size.constant is None]
        if free:
            named = f"the weight `{weight.name}` of `{node.name}`" if weight.name else f"`{node.name}`"
            message = f"{named} is {_axes(weight.shape)}: its size cannot depend on the input's `{free[0]}`"
            raise diagnostics.error("bad-dim", message, node.span)
        if weight.init == "xavier_uniform" and len(weight.shape) < 2:
            message = f"`xavier_uniform` needs two axes, `{node.name}` has {len(weight.shape)}"
            raise diagnostics.error("bad-value", message, node.span)


def check_size(typed: TypedNode, diagnostics: Diagnostics) -> None:
    """A tensor whose fixed axes alone make it larger than any machine is a fault, told once for a node."""
    weights = [TensorType(w.dtype, w.shape) for w in typed.weights]
    for found in (*typed.outputs.values(), *weights):
        if math.prod(size.constant or 1 for size in found.shape) > MAX_ELEMENTS:
            message = f"`{typed.node.name}` is {found}: more than 2^40 elements"
            diagnostics.error("too-large", message, typed.node.span)
            return


def check_member_name(node: Node, typed: TypedNode, diagnostics: Diagnostics) -> None:
    """A node that owns weights becomes an attribute of the module,
    and must hide none that every module has.
    """
    owns = typed.weights or (typed.children and not isinstance(node.action, SameNode))
    if owns and node.name in MODULE_ATTRIBUTES | ADDED_METHODS:
        diagnostics.error(
            "bad-name",
            f"the node `{node.name}` would hide the attribute `{node.name}` that every module has",
            node.span,
            help=f"choose another name, such as `{node.name.rstrip('_')}_1`",
        )


def check_shares(
    node: Node, action: OpNode, typing: Typing, nodes: Mapping[str, TypedNode], diagnostics: Diagnostics
) -> None:
    """A shared weight exists, belongs to an earlier node, and has the shape that this op needs.
    Raises Abort.
    """
    for name, attr in action.shares.items():
        own = next((w for w in typing.weights if w.name == name), None)
        owner, _, weight = str(attr.value).rpartition(".")
        found = next((w for w in nodes[owner].weights if w.name == weight), None) if owner in nodes else None
        if own is None:
            cure = did_you_mean(name, [w.name for w in typing.weights])
            raise diagnostics.error(
                "unknown-ref", f"op `{action.op}` has no weight `{name}`", attr.span, help=cure
            )
        if found is None:
            cure = did_you_mean(
                str(attr.value), [f"{n}.{w.name}" for n, t in nodes.items() for w in t.weights]
            )
            raise diagnostics.error("unknown-ref", f"there is no weight `{attr.value}`", attr.span, help=cure)
        if own.shape != found.shape:
            raise diagnostics.error(
                "shape-mismatch",
                f"`{node.name}.{name}` is {_axes(own.shape)}, `{attr.value}` is {_axes(found.shape)}",
                attr.span,
                notes=(Note(f"`{owner}` stands here", nodes[owner].node.span),),
            )


def _axes(dims: tuple[Dim, ...]) -> str:
    return "[" + ", ".join(map(str, dims)) + "]"
