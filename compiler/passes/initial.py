"""Initial values as specs write them: `zeros`, a distribution with its numbers, or a node of the spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from compiler.diagnostics.diagnostic import Diagnostics
from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.graph import OpNode, UseNode
from compiler.ir.typed import TypedNode
from compiler.ir.values import Record, Value, spell

#: distribution -> its parameters
INITS: dict[str, tuple[str, ...]] = {
    "normal": ("std", "mean"),
    "trunc_normal": ("std", "mean", "low", "high"),
    "uniform": ("low", "high"),
    "constant": (),
}
WORDS = ("zeros", "ones", "xavier_uniform")
FROM = "from"  # the word before a node's name


@dataclass(frozen=True)
class InitFault:
    """Why a value is no init, and what would be one."""

    message: str
    help: str


def source_node(value: Value) -> str | None:
    """The node that computes a parameter's initial value: `{from: waves}`."""
    if isinstance(value, Record) and len(value.items) == 1:
        ((word, name),) = value.items
        return name if word == FROM and isinstance(name, str) else None
    return None


def check_source(nodes: Mapping[str, TypedNode], diagnostics: Diagnostics) -> None:
    """A node that computes a parameter's initial value reads that parameter alone and gives what fits it."""
    for typed in nodes.values():
        name = source_node(typed.attrs.get("init"))
        if name is None:
            continue
        action = typed.node.action
        assert isinstance(action, OpNode)
        made = nodes.get(name)
        if made is None:
            message, cure = f"there is no node `{name}`", did_you_mean(name, nodes)
        elif not isinstance(made.node.action, UseNode) or [r.node for r in made.node.refs()] != [
            typed.node.name
        ]:
            message = f"`{name}` is no block whose one input is `{typed.node.name}`"
            cure = f"{{use: a_block, in: {typed.node.name}}}"
        elif [t.shape for t in made.outputs.values()] != [typed.outputs["y"].shape]:
            found = ", ".join(map(str, made.outputs.values()))
            message, cure = f"`{name}` gives {found}, `{typed.node.name}` is {typed.outputs['y']}", ""
        else:
            continue
        diagnostics.error("bad-value", message, action.attrs["init"].span, help=cure)


def init_fault(value: Value) -> InitFault | None:
    """What is wrong with an init; a node that it names is looked at where the block is typed."""
    if value in WORDS or source_node(value) is not None:
        return None
    if not isinstance(value, Record) or len(value.items) != 1:
        known = ", ".join(f"`{w}`" for w in WORDS)
        return InitFault(
            f"`{spell(value)}` is no init: it is {known} or a distribution", "{normal: {std: 0.02}}"
        )
    ((name, params),) = value.items
    if name not in INITS:
        return InitFault(f"there is no init `{name}`", did_you_mean(name, [*INITS, *WORDS]))
    if name == "constant":
        return None if _is_number(params) else InitFault(f"`{spell(params)}` is no number", "{constant: 0.5}")
    takes = f"`{name}` takes " + " and ".join(f"`{p}`" for p in INITS[name])
    if not isinstance(params, Record):
        return InitFault(f"{takes}, not `{spell(params)}`", f"{{{name}: {{{INITS[name][0]}: 0.02}}}}")
    for key, number in params.items:
        if key not in INITS[name]:
            return InitFault(f"{takes}, not `{key}`", did_you_mean(key, INITS[name]))
        if not _is_number(number):
            return InitFault(f"`{key}` is a number, not `{spell(number)}`", "")
    return None


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float | Fraction) and not isinstance(value, bool)
