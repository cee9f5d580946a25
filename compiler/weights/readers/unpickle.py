"""A pickle machine whose values are plain data and inert records. It calls nothing and imports nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from compiler.weights.readers.pickle_globals import Global, Object, Ordered, Storage, Tagged, Tensor, find
from compiler.weights.readers.pickle_ops import PickleFault, operations

_CONSTANTS: Final[Mapping[str, Any]] = MappingProxyType({"NONE": None, "NEWTRUE": True, "NEWFALSE": False})
_EMPTY: Final[Mapping[str, Callable[[], Any]]] = MappingProxyType(
    {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
)
_ARGUMENTS: Final = frozenset({"INT", "FLOAT", "TEXT"})
_SCALARS: Final = (str, int, float, type(None))


def unpickle(data: bytes, *, scripted: bool) -> Any:
    """The value of a checkpoint's data.pkl; `scripted` admits TorchScript classes. Raises PickleFault."""
    machine = _Machine(scripted)
    for name, argument, offset in operations(data):
        try:
            if name == "STOP":
                return machine.result()
            machine.step(name, argument)
        except PickleFault as fault:
            raise PickleFault(fault.reason, offset) from None
    raise AssertionError("operations() ends with STOP or a fault")


class _Machine:
    """The stack, the marks below which it must not be popped, and the memo."""

    def __init__(self, scripted: bool) -> None:
        self.scripted = scripted
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def result(self) -> Any:
        value = self.pop()
        if self.stack or self.marks:
            raise PickleFault("values are left over at its end")
        return value

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleFault("a value is missing")
        return self.stack.pop()

    def pop_many(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def pop_mark(self) -> list[Any]:
        if not self.marks:
            raise PickleFault("a mark is missing")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def top(self) -> Any:
        value = self.pop()
        self.stack.append(value)
        return value

    def step(self, name: str, argument: Any) -> None:
        """Carry out one operation."""
        if name in _ARGUMENTS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name == "PUT":
            self.memo[argument] = self.top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif name == "GET":
            self.stack.append(self._remembered(argument))
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name not in ("PROTO", "FRAME"):
            _STEPS[name](self, argument)

    def _remembered(self, index: int) -> Any:
        if index not in self.memo:
            raise PickleFault(f"it refers to value {index}, which was never kept")
        return self.memo[index]


def _drop(machine: _Machine, _: None) -> None:
    machine.pop()


def _drop_marked(machine: _Machine, _: None) -> None:
    machine.pop_mark()


def _global(machine: _Machine, argument: tuple[str, str] | None) -> None:
    module, name = machine.pop_many(2) if argument is None else argument
    if not isinstance(module, str) or not isinstance(name, str):
        raise PickleFault("a global whose name is not text")
    found = find(module, name, scripted=machine.scripted)
    if found is None:
        raise PickleFault(f"global '{module[:80]} {name[:80]}' is not a tensor constructor")
    machine.stack.append(found)


def _tuple(machine: _Machine, count: int | None) -> None:
    values = machine.pop_mark() if count is None else machine.pop_many(count)
    machine.stack.append(tuple(values))


def _append(machine: _Machine, values: list[Any]) -> None:
    target = machine.top()
    if not isinstance(target, list):
        raise PickleFault("it appends to something that is not a list")
    target.extend(values)


def _set(machine: _Machine, values: list[Any]) -> None:
    target = machine.top()
    if not isinstance(target, dict) or len(values) % 2:
        raise PickleFault("it sets items of something that is not a mapping")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, _SCALARS):
            raise PickleFault("a mapping's key is neither text nor a number")
        if key in target:
            raise PickleFault(f"the key `{str(key)[:80]}` stands twice")
        target[key] = value


def _persistent(machine: _Machine, _: None) -> None:
    """('storage', its class, member name, device, elements): torch/serialization.py, persistent_id."""
    match machine.pop():
        case ("storage", Global(kind="storage", dtype=dtype), str(key), str(), int(numel)) if (
            type(numel) is int and 0 <= numel < 2**63
        ):
            made = Storage(key, dtype, numel)
        case _:
            raise PickleFault("a persistent id that is not a storage")
    if machine.storages.setdefault(key, made) != made:
        raise PickleFault(f"the storage `{key[:80]}` is described in two ways")
    machine.stack.append(made)


def _new(machine: _Machine, _: None) -> None:
    match machine.pop_many(2):
        case [Global(kind="class", name=name), ()]:
            machine.stack.append(Object(name))
        case _:
            raise PickleFault("it makes an object that is not a plain TorchScript module")


def _build(machine: _Machine, _: None) -> None:
    target, state = machine.pop_many(2)
    if isinstance(target, Object):
        if not isinstance(state, dict) or target.attributes is not None:
            raise PickleFault(
                f"object '{target.name[:80]}' carries custom state; only plain modules are read"
            )
        if not all(isinstance(key, str) for key in state):
            raise PickleFault(f"object '{target.name[:80]}' has an attribute whose name is not text")
        target.attributes = state
    elif not isinstance(target, Ordered) or not isinstance(state, dict):
        raise PickleFault("it sets the state of something that is not a module")
    machine.stack.append(target)


def _reduce(machine: _Machine, _: None) -> None:
    target, arguments = machine.pop_many(2)
    if not isinstance(target, Global) or not isinstance(arguments, tuple):
        raise PickleFault("it calls something that is not a tensor constructor")
    machine.stack.append(_construct(target, arguments))


def _construct(target: Global, arguments: tuple[Any, ...]) -> Any:
    """The record for a call of one of the table's constructors with exactly the arguments PyTorch writes."""
    match target.kind, arguments:
        case "tensor_v2", (Storage() as storage, start, shape, stride, bool(), _, *meta):
            return _tensor(storage, storage.dtype, (start, shape, stride), meta)
        case "tensor_v3", (
            Storage() as storage,
            start,
            shape,
            stride,
            bool(),
            _,
            Global(kind="dtype") as d,
            *meta,
        ):
            return _tensor(storage, d.dtype, (start, shape, stride), meta)
        case "parameter", (Tensor() as tensor, bool(), _):
            return tensor
        case "ordered", ():
            return Ordered()
        case "size", (tuple(values),):
            return values
        case "device", (str(device), *_):
            return device
        case "tag", (value, str(annotation)):
            return Tagged(value, annotation)
        case "list", (list(values),):
            return values
    raise PickleFault(f"'{target.name}' is called with arguments that PyTorch does not write")


def _tensor(storage: Storage, dtype: str, view: tuple[Any, Any, Any], meta: list[Any]) -> Tensor:
    start, shape, stride = view
    if not (_sizes((start,)) and _sizes(shape) and _sizes(stride) and len(shape) == len(stride)):
        raise PickleFault("a tensor whose offset, shape or strides are not whole numbers")
    if len(meta) > 1 or any(not isinstance(flags, dict) or any(flags.values()) for flags in meta):
        raise PickleFault("a tensor that is a lazy conjugate or negation; save it with resolve_conj()")
    return Tensor(storage, dtype, start, shape, stride)


def _sizes(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and 0 <= value < 2**63 for value in values)


_STEPS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = MappingProxyType(
    {
        "POP": _drop,
        "POP_MARK": _drop_marked,
        "GLOBAL": _global,
        "STACK_GLOBAL": _global,
        "TUPLE": _tuple,
        "TUPLE_OF": _tuple,
        "APPEND": lambda m, _: _append(m, m.pop_many(1)),
        "APPENDS": lambda m, _: _append(m, m.pop_mark()),
        "SETITEM": lambda m, _: _set(m, m.pop_many(2)),
        "SETITEMS": lambda m, _: _set(m, m.pop_mark()),
        "BINPERSID": _persistent,
        "NEWOBJ": _new,
        "BUILD": _build,
        "REDUCE": _reduce,
    }
)
