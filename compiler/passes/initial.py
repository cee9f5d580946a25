"""Initial values as specs write them: `zeros`, or one distribution with its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from compiler.diagnostics.suggest import did_you_mean
from compiler.ir.values import Record, Value, spell

#: distribution -> its parameters
INITS: dict[str, tuple[str, ...]] = {
    "normal": ("std", "mean"),
    "trunc_normal": ("std", "mean", "low", "high"),
    "uniform": ("low", "high"),
    "constant": (),
}
WORDS = ("zeros", "ones", "xavier_uniform")


@dataclass(frozen=True)
class InitFault:
    """Why a value is no init, and what would be one."""

    message: str
    help: str


def init_fault(value: Value) -> InitFault | None:
    """What is wrong with an init."""
    if value in WORDS:
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
