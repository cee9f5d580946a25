"""The state dict of a TorchScript module, from its data alone.

The archive's program text is never opened, so a plain tensor attribute cannot be told from a buffer: it
appears here although `state_dict()` of the loaded module leaves it out. Dead entries can be dropped by a map.
"""

from __future__ import annotations

from typing import Any, Final

from compiler.weights.dtypes import MAX_NAME
from compiler.weights.readers.pickle_globals import Object, Tensor
from compiler.weights.readers.pickle_ops import PickleFault

MAX_ATTRIBUTES: Final = 1_000_000
MAX_DEPTH: Final = 64


def flatten(root: Object) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, other attributes of the root) by dotted path, in the order of the file. Raises PickleFault.

    Depth-first without recursion. An object reached by two paths appears under both, as in PyTorch; a cycle
    runs into the depth limit, and shared nesting that would explode into the attribute limit.
    """
    tensors: dict[str, Tensor] = {}
    others: dict[str, Any] = {}
    pending: list[tuple[str, Object, int]] = [("", root, 0)]
    visited = 0
    while pending:
        prefix, module, depth = pending.pop()
        visited += 1 + len(module.attributes or {})
        if visited > MAX_ATTRIBUTES or depth > MAX_DEPTH:
            raise PickleFault("its modules are nested without end")
        children: list[tuple[str, Object, int]] = []
        for name, value in (module.attributes or {}).items():
            if "." in name or len(prefix + name) > MAX_NAME:
                raise PickleFault(f"the attribute name `{name[:80]}` holds a dot or is too long")
            if isinstance(value, Tensor):
                tensors[prefix + name] = value
            elif isinstance(value, Object):
                children.append((f"{prefix}{name}.", value, depth + 1))
            elif not prefix:
                others[name] = value
        pending += reversed(children)
    return tensors, others
