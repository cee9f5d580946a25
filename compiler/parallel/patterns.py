"""Names of modules: `h.#0.attn.q` while a graph is walked, where `#0` is the first kind of layer of `h`;
`h.*.attn.q` in a plan; `h.3.attn.q` in the module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compiler.ir.graph import OpNode, RepeatNode, SameNode
from compiler.ir.typed import TypedBlock

#: A repeat's path -> for each kind of layer the numbers of its modules.
Layers = Mapping[str, tuple[tuple[int, ...], ...]]


def repeats(root: TypedBlock, prefix: str = "") -> Layers:
    """Every repeat below a block."""
    found: dict[str, tuple[tuple[int, ...], ...]] = {}
    for typed in root.nodes:
        action, path = typed.node.action, prefix + typed.node.name
        if isinstance(action, RepeatNode):
            kinds = dict(zip(action.modules, action.layers, strict=True))
            found[path] = tuple(
                tuple(m for m in sorted(kinds) if kinds[m] == body) for body in range(len(action.bodies))
            )
            for k, child in enumerate(typed.children):
                found |= repeats(child, f"{path}.#{k}.")
        elif typed.children and not isinstance(action, SameNode):
            found |= repeats(typed.children[0], f"{path}.")
    return found


def modules(root: TypedBlock, layers: Layers) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every op with weights or a shared one, and the names of its modules."""
    for name in _named(root, ""):
        yield name, tuple(concrete(name, layers))


def _named(block: TypedBlock, prefix: str) -> Iterator[str]:
    for typed in block.nodes:
        action, path = typed.node.action, prefix + typed.node.name
        if isinstance(action, OpNode) and (typed.weights or action.shares):
            yield path
        elif isinstance(action, RepeatNode):
            for k, child in enumerate(typed.children):
                yield from _named(child, f"{path}.#{k}.")
        elif typed.children and not isinstance(action, SameNode):
            yield from _named(typed.children[0], f"{path}.")


def concrete(name: str, layers: Layers) -> Iterator[str]:
    """The modules of a name with kinds of layers."""
    return (".".join(parts) for parts in _numbered(name.split("."), "", layers))


def _numbered(parts: list[str], path: str, layers: Layers) -> Iterator[tuple[str, ...]]:
    """The ways to number the parts behind a path, which has kinds of layers itself."""
    if not parts:
        yield ()
        return
    first = parts[0]
    numbers = map(str, layers[path][int(first[1:])]) if first.startswith("#") else (first,)
    below = list(_numbered(parts[1:], f"{path}.{first}" if path else first, layers))
    for number in numbers:
        yield from ((number, *rest) for rest in below)


def folded(values: Mapping[str, str], layers: Layers) -> dict[str, str]:
    """Values by pattern: `*` where all kinds of layers have the same, numbers where they differ."""
    current = dict(values)
    while True:
        name = next((n for n in current if "#" in n), None)
        if name is None:
            return current
        current = _fold(name, current, layers)


def _fold(name: str, values: Mapping[str, str], layers: Layers) -> dict[str, str]:
    """The last kind of layer in a name taken out, for all names that differ only there."""
    parts = name.split(".")
    at = max(k for k, part in enumerate(parts) if part.startswith("#"))
    head, tail = ".".join(parts[:at]), ".".join(parts[at + 1 :])
    kinds = layers[head]
    names = [f"{head}.#{k}.{tail}" for k in range(len(kinds))]
    alike = len({values.get(n) for n in names}) == 1
    out: dict[str, str] = {}
    for key, value in values.items():
        if key not in names:
            out[key] = value
        elif alike:
            out[f"{head}.*.{tail}"] = value
        else:
            k = names.index(key)
            out |= {f"{head}.{number}.{tail}": value for number in kinds[k]}
    return out
